"""Files that appear at once and whole, or not at all."""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from worker.errors import DiskFailed, NoRoom

FULL = (errno.ENOSPC, errno.EDQUOT)
PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
PASSABLE_FOLDER = 0o711
"""Mode of a folder by which its owner lets another user, QEMU's, reach files that it may read."""

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


def is_plain(name: str) -> bool:
    """Tell whether the name is one of a file that can lie in any folder, and nowhere else."""
    return _PLAIN.fullmatch(name) is not None


def unfinished(path: Path) -> Path:
    """Return where a file is while it is made; what helps to make it may add to the name."""
    return path.with_name(f".{path.name}.unfinished")


def clear(path: Path) -> None:
    """Remove what a run that was cut off has left of the file."""
    for place in path.parent.glob(f"{unfinished(path).name}*"):
        place.unlink(missing_ok=True)


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Lend an empty file, mode 0600, that becomes ``path`` when its content is written.

    Nothing else becomes it: not what an error, a crash or a cut in power left half done.
    """
    make_folder(path.parent)
    temporary = unfinished(path)
    clear(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    os.close(os.open(temporary, flags, PRIVATE_FILE))
    try:
        yield temporary
        # One who made it anew, as mkfs may, need not have kept the mode.
        temporary.chmod(PRIVATE_FILE)
        sync(temporary)
        temporary.rename(path)
    finally:
        clear(path)
    sync(path.parent)


def remove(path: Path) -> None:
    """Remove the file, one half made too, and its folder if nothing else is in it."""
    clear(path)
    path.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        sync(path.parent)
    # Whatever else is in the folder is not ours to remove.
    with suppress(OSError):
        path.parent.rmdir()


def make_folder(folder: Path) -> None:
    """Make the folder and those above it: with mode 0700, or 0711 below one that has that."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    passable = stat.S_IMODE(folder.parent.stat().st_mode) == PASSABLE_FOLDER
    folder.mkdir(mode=PASSABLE_FOLDER if passable else PRIVATE_FOLDER, exist_ok=True)
    sync(folder.parent)


def sync(path: Path) -> None:
    """Return when the file or folder would outlive a cut in power."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_room(folder: Path, size: int, reserve: int) -> None:
    """Raise NoRoom unless that many bytes more, and the reserve, fit below the folder."""
    present = next(path for path in (folder, *folder.parents) if path.is_dir())
    found = os.statvfs(present)
    free = found.f_bavail * found.f_frsize - reserve
    if size > free:
        raise NoRoom(
            f"{size} bytes do not fit into {folder}: {max(free, 0)} are free"
            f" beside the {reserve} that [image] reserve keeps"
        )


@contextmanager
def filesystem(path: Path) -> Iterator[None]:
    """Translate what the filesystem says; raises NoRoom and DiskFailed."""
    try:
        yield
    except OSError as error:
        raise failure(path, error) from error


def failure(path: Path, error: OSError) -> NoRoom | DiskFailed:
    """Return the error of a file that could not be made, read or removed."""
    kind = NoRoom if error.errno in FULL else DiskFailed
    return kind(f"{path}: {error.strerror}")
