"""The pool's own files: sparse ones in its folder, made and removed whole."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from worker.errors import NEVER, RequestMalformed, VolumeServiceUnavailable
from worker.volume.pool.examine import SECTOR, unusable

MAX_SIZE = 1 << 63
"""Sizes are below this: what a file's offset can hold."""


def check_size(size: int) -> None:
    """Raise RequestMalformed unless a volume can have that many bytes."""
    if not 0 < size < MAX_SIZE or size % SECTOR:
        raise RequestMalformed(
            f"a volume of {size} bytes; the size must be a positive multiple of {SECTOR}"
        )


def make_sparse(path: Path, size: int) -> None:
    """Make a file of that many bytes, none of them on disk yet; mode 0600.

    It appears at once and whole. One that an interrupted call has made is fine; one that holds
    anything is refused with VolumeFileUnusable. Raises VolumeServiceUnavailable when the
    filesystem does not take it.
    """
    with _filesystem(path):
        if path.exists():
            _check_blank(path, size)
        else:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_then_rename(path, size)
        _sync_folder(path.parent)


def make_larger(path: Path, size: int) -> None:
    """Give the file so many bytes, unless it has them; the new ones are none on disk yet.

    Raises VolumeServiceUnavailable.
    """
    with _filesystem(path), path.open("r+b") as file:
        if file.seek(0, os.SEEK_END) < size:
            os.ftruncate(file.fileno(), size)
            os.fsync(file.fileno())


def condemn(path: Path) -> None:
    """Note beside the file that it is about to be removed; that it was the pool's is known now."""
    with _filesystem(path), suppress(FileNotFoundError):
        _condemned(path).touch(mode=0o600)
        _sync_folder(path.parent)


def reprieve(path: Path) -> None:
    """Take the note back."""
    with _filesystem(path):
        _condemned(path).unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file of the pool's and what is noted about it; what is not there is fine."""
    with _filesystem(path):
        for place in (unfinished(path), path, _condemned(path)):
            place.unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            _sync_folder(path.parent)


def remove_leftover(path: Path) -> None:
    """Remove what an interrupted ``make_sparse`` or ``remove`` left; any other file stays."""
    with _filesystem(path):
        ours = _condemned(path).exists() or not path.exists() or not _holds_data(path)
    if ours:
        remove(path)


def _condemned(path: Path) -> Path:
    return path.with_name(f".{path.name}.condemned")


def unfinished(path: Path) -> Path:
    """Return where what is to go into the file is made before."""
    # One name a volume, so that a call that is made again clears what the first one left.
    return path.with_name(f".{path.name}.unfinished")


def _write_then_rename(path: Path, size: int) -> None:
    place = unfinished(path)
    try:
        _write_sparse(place, size)
        place.rename(path)
    finally:
        place.unlink(missing_ok=True)


def _write_sparse(path: Path, size: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        os.ftruncate(file.fileno(), size)
        os.fsync(file.fileno())


def _check_blank(path: Path, size: int) -> None:
    if path.stat().st_size != size or _holds_data(path):
        raise unusable(
            str(path), "no volume owns it, yet it is in the new one's place; move it away"
        )


def _holds_data(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            os.lseek(file.fileno(), 0, os.SEEK_DATA)
        except OSError as error:
            return error.errno != errno.ENXIO
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _filesystem(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"the pool's folder, {path.parent}: {error}"
        # A full disk stays full.
        raise VolumeServiceUnavailable(message, retry_after=NEVER) from error
