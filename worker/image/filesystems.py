"""Blank disks that a guest finds formatted: made on the file, without root."""

from collections.abc import Callable, Mapping
from pathlib import Path

from worker.image.programs import make
from worker.model.ids import BlockDeviceId

LABEL = "ephemeral"
"""What a guest sees, unless it goes by the filesystem's uuid: the row's, or its beginning."""

MAKERS: Mapping[str, Callable[[Path, BlockDeviceId], tuple[str, ...]]] = {
    "swap": lambda path, uuid: ("mkswap", "-U", uuid, "-L", "swap", str(path)),
    "ext4": lambda path, uuid: ("mkfs.ext4", "-q", "-F", "-U", uuid, "-L", LABEL, str(path)),
    "vfat": lambda path, uuid: ("mkfs.vfat", "-i", uuid[:8], "-n", LABEL.upper(), str(path)),
}
"""The command that makes each, on a file of its final size."""


def make_filesystem(path: Path, kind: str, uuid: BlockDeviceId) -> None:
    """Make one of MAKERS' filesystems; raises NoRoom, DiskFailed."""
    make(path, *MAKERS[kind](path, uuid))
