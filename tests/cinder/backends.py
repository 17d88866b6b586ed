"""What Cinder keeps volumes on, in the tests."""

import os
import sys
from pathlib import Path

from tests.ceph import Ceph
from tests.ceph_text import POOL, USER
from tests.cinder.configuration import Backend
from tests.cinder.service import Cinder
from tests.cinder.share import EXPORT, Share
from tests.rings import require

NFS, CEPH, SHARED, LUKS = "nfs", "ceph", "shared", "luks"

SYSTEM = Path("/usr/lib/python3/dist-packages")
"""Where Ceph's modules for Python are, which come in no wheel."""


def add_nfs(cinder: Cinder, share: Share) -> None:
    """Have volumes of the type ``nfs`` on the share, by Cinder's own driver."""
    shares = cinder.folder / "shares"
    shares.write_text(f"{EXPORT}\n")
    options = {
        "volume_driver": "cinder.volume.drivers.nfs.NfsDriver",
        "nfs_shares_config": shares,
        "nfs_mount_point_base": share.mounts("cinder"),
        "nas_secure_file_operations": False,
        "nas_secure_file_permissions": False,
    }
    _add(cinder, Backend(name=NFS, options=options, path=share.path))


def add_ceph(cinder: Cinder, ceph: Ceph) -> None:
    """Have volumes in the cluster by Cinder's own driver: plain ones, shared, and encrypted."""
    options = {
        "volume_driver": "cinder.volume.drivers.rbd.RBDDriver",
        "rbd_pool": POOL,
        "rbd_user": USER,
        "rbd_ceph_conf": ceph.configuration,
    }
    path = os.environ["PATH"]
    _add(cinder, Backend(name=CEPH, options=options, path=path, modules=_modules(cinder.folder)))
    _make_type(cinder, SHARED, CEPH, multiattach="<is> True")
    luks = _make_type(cinder, LUKS, CEPH)
    encryption = {"provider": "luks", "control_location": "front-end", "key_size": 256}
    asked = {"encryption": {**encryption, "cipher": "aes-xts-plain64"}}
    cinder.caller("root").post(f"/types/{luks}/encryption", asked)


def _modules(folder: Path) -> str:
    """Return a folder with Ceph's modules and none of the system's others."""
    found = [
        path
        for name in ("rados", "rbd")
        for path in SYSTEM.glob(f"{name}.{sys.implementation.cache_tag}-*.so")
    ]
    require(len(found) == 2, f"python3-rados, python3-rbd for {sys.implementation.cache_tag}")
    modules = folder / "modules"
    modules.mkdir()
    for path in found:
        (modules / path.name).symlink_to(path)
    return str(modules)


def _add(cinder: Cinder, backend: Backend) -> None:
    cinder.add(backend)
    cinder.wait()
    without_limit = {"quota_set": {"volumes": -1, "gigabytes": -1}}
    project = cinder.identity.project_id("alice")
    cinder.caller("root").ask("PUT", f"/os-quota-sets/{project}", without_limit)
    _make_type(cinder, backend.name, backend.name)


def _make_type(cinder: Cinder, name: str, backend: str, **specs: str) -> str:
    asked = {"name": name, "extra_specs": {"volume_backend_name": backend, **specs}}
    made = cinder.caller("root").post("/types", {"volume_type": asked})
    return str(made["volume_type"]["id"])
