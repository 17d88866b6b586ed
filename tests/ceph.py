"""One-node Ceph as private processes, with authentication: a monitor, an OSD on a sparse file.

It starts in 5 s, as root or as anybody else, and has some 100 MiB of memory and 50 of disk. The
manager has three times as much and is begun by who needs it: without one, images come, go, grow
and are read and written, and only the figures of ``ceph df`` are missing.
"""

import base64
import contextlib
import json
import os
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.rings import require
from tests.services_rabbitmq import free_ports

POOL, USER = "volumes", "guests"
"""A pool, and who may have images in it."""

OSD_BYTES = 2 << 30
PATIENCE = 60.0
PACKAGES = {
    "ceph-mon": "ceph-mon",
    "ceph-osd": "ceph-osd",
    "ceph-mgr": "ceph-mgr",
    "rbd": "ceph-common",
}

CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = v1:127.0.0.1:{port}
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
public addr = 127.0.0.1
cluster addr = 127.0.0.1
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


@dataclass(kw_only=True)
class Ceph:
    """A cluster of a test's own; ``configuration`` is its ceph.conf, for programs of root's."""

    folder: Path
    port: int
    fsid: str = field(default_factory=lambda: str(uuid4()))
    keys: dict[str, str] = field(default_factory=dict, repr=False)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def configuration(self) -> Path:
        return self.folder / "ceph.conf"

    @property
    def key(self) -> str:
        """The user's."""
        return self.keys[f"client.{USER}"]

    def add(self, image: str, size: int) -> None:
        """Make an image in the pool."""
        self.rbd("create", f"{POOL}/{image}", "--size", f"{size}B")

    def resize(self, image: str, size: int) -> None:
        self.rbd("resize", f"{POOL}/{image}", "--size", f"{size}B", "--no-progress")

    def remove(self, image: str) -> None:
        self.rbd("rm", f"{POOL}/{image}", "--no-progress")

    def content(self, image: str) -> bytes:
        """Return what is in the image, to its last byte."""
        self.rbd("export", f"{POOL}/{image}", str(self.folder / "exported"), "--no-progress")
        try:
            return (self.folder / "exported").read_bytes()
        finally:
            (self.folder / "exported").unlink()

    def watchers(self, image: str) -> list[str]:
        """Return who has the image open, by address."""
        told = json.loads(self.rbd("status", f"{POOL}/{image}", "--format", "json"))
        return [watcher["address"] for watcher in told["watchers"]]

    def wait_for_no_watcher(self, image: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.watchers(image):
            assert time.monotonic() < deadline, self.watchers(image)
            time.sleep(0.1)

    def rbd(self, *words: str) -> str:
        """Run ``rbd`` as the cluster's administrator."""
        return self._run("rbd", *words)

    def ask(self, *words: str) -> Any:  # noqa: ANN401 - JSON has no narrower type
        """Ask the monitor as the cluster's administrator."""
        return json.loads(self._run("ceph", *words, "--format", "json") or "null")

    def start(self) -> None:
        """Return when the pool takes images."""
        self._write()
        self._make("ceph-mon", "a", "--monmap", str(self.folder / "monmap"))
        self._begin("ceph-mon", "a")
        self._make("ceph-osd", "0", "--osd-uuid", self.fsid)
        self._run("ceph", "osd", "new", self.fsid, "0")
        self._begin("ceph-osd", "0")
        self._run("ceph", "osd", "pool", "create", POOL)
        # It is answered once the OSD is up and has the pool.
        self.rbd("ls", POOL)

    def start_manager(self) -> None:
        """Return when the figures of ``ceph df`` are there; again is fine."""
        if (self.folder / "mgr").exists():
            return
        (self.folder / "mgr").mkdir()
        self._begin("ceph-mgr", "x")
        deadline = time.monotonic() + PATIENCE
        while not self.ask("df")["stats"]["total_bytes"]:
            assert time.monotonic() < deadline, self._said("ceph-mgr")
            time.sleep(0.1)

    def end(self) -> None:
        """End its processes; nothing of it is needed afterwards."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait(PATIENCE)

    def _write(self) -> None:
        named = {"fsid": self.fsid, "port": self.port, "folder": self.folder, "size": OSD_BYTES}
        self.configuration.write_text(CONFIGURATION.format(**named))
        self.keys = {name: _new_key() for name in RIGHTS}
        (self.folder / "keyring").write_text("".join(map(self._entry, RIGHTS)))
        (self.folder / "keyring").chmod(0o600)
        (self.folder / "osd").mkdir()
        address = f"[v1:127.0.0.1:{self.port}]"
        words = ["--create", "--fsid", self.fsid, "--addv", "a", address]
        _checked(["monmaptool", *words, str(self.folder / "monmap")])

    def _entry(self, name: str) -> str:
        rights = [f'caps {of} = "{what}"' for of, what in RIGHTS[name].items()]
        return "\n".join([f"[{name}]", f"key = {self.keys[name]}", *rights, ""])

    def _make(self, program: str, name: str, *words: str) -> None:
        keyring = str(self.folder / "keyring")
        self._run(program, "-i", name, "--mkfs", "--keyring", keyring, *words)

    def _begin(self, program: str, name: str) -> None:
        with (self.folder / f"{program}.out").open("wb") as log:
            words = [program, "-c", str(self.configuration), "-i", name, "-f"]
            self.processes.append(
                subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            )

    def _run(self, program: str, *words: str) -> str:
        try:
            return _checked([program, "-c", str(self.configuration), *words])
        except subprocess.TimeoutExpired as error:
            said = "\n".join(self._said(name) for name in ("ceph-mon", "ceph-osd"))
            raise AssertionError(said) from error

    def _said(self, program: str) -> str:
        path = self.folder / f"{program}.out"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""


@contextlib.contextmanager
def one_node_ceph() -> Iterator[Ceph]:
    """Lend a cluster that runs; nothing of it is left afterwards."""
    for program, package in PACKAGES.items():
        require(shutil.which(program) is not None, f"{program} (package {package})")
    folder = Path(tempfile.mkdtemp(prefix="bw-ceph-"))
    ceph = Ceph(folder=folder, port=free_ports(1)[0])
    try:
        ceph.start()
        yield ceph
    finally:
        ceph.end()
        shutil.rmtree(folder)


def _new_key() -> str:
    """Return a key as Ceph writes one: its kind, when it was made, how long it is, and it."""
    made = struct.pack("<HIIH", 1, int(time.time()), 0, 16)
    return base64.b64encode(made + os.urandom(16)).decode()


def _checked(words: list[str]) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout
