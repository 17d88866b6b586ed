"""A share that is mounted as NFS is, without a server and a kernel that speak it.

The programs that Cinder and os-brick run are found in ``programs``: ``mount -t nfs`` binds the
share's folder, or for who is not root puts a link in its place; ``sudo cinder-rootwrap`` runs what
it is given with the rights that are there.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

EXPORT = "127.0.0.1:/volumes"

_MOUNT = """\
#!/bin/sh
# mount -t nfs [-o options] share place
[ "$1 $2" = "-t nfs" ] || exec {mount} "$@"
for place; do :; done
[ "$(id -u)" -ne 0 ] || exec {mount} --bind {folder} "$place"
[ -L "$place" ] || {{ rmdir "$place" && ln -s {folder} "$place"; }}
"""

_SUDO = """\
#!/bin/sh
# sudo cinder-rootwrap configuration program arguments
shift 2
exec "$@"
"""

_NFS = """\
#!/bin/sh
exit 0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The folder behind the export, and the folder of mounts, one place for each who mounts."""

    place: Path

    @property
    def folder(self) -> Path:
        """What is in the export."""
        return self.place / "exported"

    @property
    def programs(self) -> Path:
        """What goes before others in PATH."""
        return self.place / "programs"

    @property
    def path(self) -> str:
        return f"{self.programs}{os.pathsep}{os.environ['PATH']}"

    def mounts(self, whose: str) -> Path:
        """Return a folder of mounts; a libvirtd that starts later sees what comes to be in it."""
        found = self.place / "mounts" / whose
        found.mkdir(exist_ok=True)
        return found


@contextmanager
def nfs_share() -> Iterator[Share]:
    """A share that is there until the block ends, and its mounts with it."""
    share = Share(place=Path(tempfile.mkdtemp(prefix="bw-nfs-")))
    _make(share)
    mounted = []
    try:
        if os.geteuid() == 0:
            mounted = _mount_folders(share)
        yield share
    finally:
        for folder in mounted:
            subprocess.run(["umount", "--recursive", "--lazy", folder], check=True)
        shutil.rmtree(share.place)


def _mount_folders(share: Share) -> list[Path]:
    mounts = share.place / "mounts"
    _mount("-t", "tmpfs", "-o", "size=2G", "none", share.folder)
    _mount("--bind", mounts, mounts)
    # The libvirtd of the tests lives in a mount namespace of its own.
    _mount("--make-shared", mounts)
    return [mounts, share.folder]


def _make(share: Share) -> None:
    for folder in (share.folder, share.programs, share.place / "mounts"):
        folder.mkdir()
    # QEMU may run as another user.
    share.place.chmod(0o711)
    mount = shutil.which("mount")
    for name, text in (
        ("mount", _MOUNT.format(mount=mount, folder=share.folder)),
        ("sudo", _SUDO),
        ("mount.nfs", _NFS),
    ):
        program = share.programs / name
        program.write_text(text)
        program.chmod(0o755)


def _mount(*words: str | Path) -> None:
    subprocess.run(["mount", *words], check=True)
