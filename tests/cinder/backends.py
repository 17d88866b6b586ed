"""What Cinder keeps volumes on, in the tests."""

from tests.cinder.service import Backend, Cinder
from tests.cinder.share import EXPORT, Share

NFS = "nfs"


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


def _add(cinder: Cinder, backend: Backend) -> None:
    cinder.add(backend)
    cinder.wait()
    specs = {"volume_backend_name": backend.name}
    asked = {"volume_type": {"name": backend.name, "extra_specs": specs}}
    cinder.caller("root").post("/types", asked)
