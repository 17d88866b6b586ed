"""What the daemons of a Ceph for the tests are told: their configuration, users and keys."""

import base64
import os
import struct
import time
from collections.abc import Mapping

POOL, USER = "volumes", "guests"
"""A pool, and who may have images in it."""

CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = v1:{host}:{port}
auth cluster required = cephx
auth service required = {service}
auth client required = cephx
auth allow insecure global id reclaim = false
public addr = {host}
cluster addr = {host}
ms bind msgr2 = false
keyring = {folder}/keyring
run dir = {folder}
log file = {folder}/$name.log
mon cluster log file = {folder}/cluster.log
crash dir = {folder}
admin socket =
pid file =
mon data = {folder}/mon
mon data avail warn = 1
mon data avail crit = 0
mon allow pool size one = true
# What one monitor proposes needs nobody else's word; each start waits for a dozen of them.
paxos propose interval = 0.05
osd data = {folder}/osd
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
bluestore block size = {size}
bluestore cache autotune = false
bluestore cache size = 67108864
bluestore fsck on mkfs = false
debug rocksdb = 0
mgr data = {folder}/mgr
mgr initial modules =

[client]
log file = /dev/null
# A client that came before the OSD looks again then, and 5 s later otherwise.
objecter tick interval = 0.1
rbd validate pool = false
"""

RIGHTS = {
    "mon.": {"mon": "allow *"},
    "osd.0": {"mon": "allow profile osd", "mgr": "allow profile osd", "osd": "allow *"},
    "mgr.x": {"mon": "allow profile mgr", "osd": "allow *", "mds": "allow *"},
    "client.admin": {"mon": "allow *", "mgr": "allow *", "osd": "allow *"},
    f"client.{USER}": {
        "mon": "profile rbd",
        "mgr": f"profile rbd pool={POOL}",
        "osd": f"profile rbd pool={POOL}",
    },
}


def new_keys() -> dict[str, str]:
    """Return a key for every user."""
    return {name: _new_key() for name in RIGHTS}


def keyring(keys: Mapping[str, str]) -> str:
    """Write a keyring, with what each user may do."""
    return "".join(f"[{name}]\nkey = {key}\n{_rights(name)}" for name, key in keys.items())


def _rights(name: str) -> str:
    return "".join(f'caps {of} = "{what}"\n' for of, what in RIGHTS[name].items())


def _new_key() -> str:
    """Return a key as Ceph writes one: its kind, when it was made, how long it is, and it."""
    made = struct.pack("<HIIH", 1, int(time.time()), 0, 16)
    return base64.b64encode(made + os.urandom(16)).decode()
