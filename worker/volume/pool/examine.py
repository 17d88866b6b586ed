"""Looking at a file or block device: can it be a volume, and is it still there?"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from oslo_utils.imageutils.format_inspector import InspectWrapper

from worker.errors import VolumeFileUnusable, WrongDevice
from worker.model.volume import PoolVolume

SECTOR = 512
RAW_FORMATS = frozenset({"raw", "gpt", "iso", "luks"})
"""Contents that a guest is to see byte for byte; the other formats wrap a disk of their own."""

_ADVICE = {
    errno.ENOENT: "it does not exist; check the path",
    errno.ENOTDIR: "it does not exist; check the path",
    errno.EACCES: "it may not be read and written; give this user the right to",
    errno.EPERM: "it may not be read and written; give this user the right to",
    errno.EROFS: "its filesystem is read-only; copy it elsewhere",
    errno.EBUSY: "this host uses it (a mount, swap, LVM or RAID); release it first",
}

_CHUNK = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFile:
    """A file or block device that can be a volume, by its real path; ``size`` is in bytes."""

    path: str
    size: int


def real_path(path: str) -> str:
    """Follow the path's links; raises VolumeFileUnusable unless it is absolute and UTF-8."""
    if not path.startswith("/") or "\0" in path:
        raise unusable(path, "it is no absolute path; give one that starts with /")
    try:
        real = os.path.realpath(path)
        real.encode()
    except UnicodeEncodeError as error:
        raise unusable(path, "its name is not UTF-8; rename it") from error
    return real


def examine(path: str) -> RawFile:
    """Look whether the file or block device can be a volume in place.

    Raises VolumeFileUnusable, whose message says what to do about it.
    """
    real = real_path(path)
    with _opened(real) as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            raise unusable(real, "it is empty; give it a size with: truncate -s 1G FILE")
        file.seek(0)
        _check_raw(real, _formats(file))
    if size % SECTOR:
        raise unusable(
            real,
            f"its {size} bytes are no multiple of {SECTOR}; round it up with: "
            f"truncate -s %{SECTOR} FILE",
        )
    return RawFile(path=real, size=size)


def check_present(volume: PoolVolume) -> None:
    """Look whether the volume's file is there in its size.

    Raises VolumeFileUnusable when it is not, WrongDevice when it has shrunk.
    """
    with _opened(volume.path) as file:
        size = file.seek(0, os.SEEK_END)
    if size < volume.volume.size:
        raise WrongDevice(
            f"{volume.path!r}, the file of volume {volume.volume.id}, has {size} bytes, "
            f"fewer than the {volume.volume.size} recorded"
        )


def check_grown(volume: PoolVolume) -> None:
    """Look whether the volume's file is there in a size that it is yet to be known by.

    Raises VolumeFileUnusable.
    """
    try:
        check_present(volume)
    except WrongDevice as error:
        has = volume.volume.size
        advice = f"it is not {has} bytes large; make it so first, with truncate or lvextend say"
        raise unusable(volume.path, advice) from error


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """Open as QEMU will; a block device exclusively, which fails while the host uses it."""
    try:
        mode = Path(path).stat().st_mode
        exclusive = os.O_EXCL if stat.S_ISBLK(mode) else 0
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            raise unusable(path, "it is neither a regular file nor a block device; name one")
        # Not to wait, should a pipe have come in its place.
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | exclusive
        with os.fdopen(os.open(path, flags), "rb") as file:
            yield file
    except OSError as error:
        raise unusable(path, _ADVICE.get(error.errno or 0, str(error.strerror))) from error


def _check_raw(path: str, formats: frozenset[str]) -> None:
    wrapped = ", ".join(sorted(formats - RAW_FORMATS))
    if wrapped:
        raise unusable(
            path,
            f"it is an image in format {wrapped}, not raw; convert it with: "
            "qemu-img convert -O raw FILE NEW",
        )


def _formats(file: BinaryIO) -> frozenset[str]:
    """Name every format that the content could be; a disguise may show more than one."""
    inspector = InspectWrapper(file)
    while inspector.formats is None and inspector.read(_CHUNK):
        pass
    inspector.close()
    return frozenset(str(found) for found in inspector.formats or ())


def same_file(one: str, other: str) -> bool:
    """Tell whether two paths lead to one file or device, hard links and device nodes included."""
    try:
        first, second = Path(one).stat(), Path(other).stat()
    except OSError:
        return False
    if stat.S_ISBLK(first.st_mode) and stat.S_ISBLK(second.st_mode):
        return first.st_rdev == second.st_rdev
    return os.path.samestat(first, second)


def unusable(path: str, why: str) -> VolumeFileUnusable:
    """Make the error of a file that cannot be a volume; ``why`` says what to do, too."""
    return VolumeFileUnusable(f"{path!r} cannot be a volume: {why}")
