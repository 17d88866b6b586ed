"""Files that hold secrets: nobody else may read them, and they are never there by half."""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, flock
from pathlib import Path

from worker.errors import Invalid

ALONE = 0o077
"""What nobody but the owner may."""

WITH_A_GROUP = 0o027
"""The same, but that a group may read."""

FOREIGN = 0o022
"""What makes a folder one in which others may put a file of theirs."""


def read_private(path: Path, *, forbidden: int = ALONE) -> str:
    """Return the text; raises Invalid if others may have it, OSError if it cannot be read.

    A symbolic link is followed: what counts is whose the file behind it is.
    """
    with path.open(encoding="utf-8") as file:
        _check_owner(path, os.fstat(file.fileno()), forbidden)
        try:
            return file.read()
        except UnicodeDecodeError as error:
            message = f"{path} is no text; mend it, or move it away and start again"
            raise Invalid(message) from error


def check_private(path: Path, *, forbidden: int = ALONE) -> None:
    """Raise Invalid if it cannot be read, or others may have it."""
    try:
        found = path.stat()
        path.open("rb").close()
    except OSError as error:
        message = f"{path} cannot be read ({error.strerror})"
        raise Invalid(message) from error
    _check_owner(path, found, forbidden)


def write_private(path: Path, text: str, *, new: bool = False) -> bool:
    """Put the text there, mode 0600, at once or not at all; its folder is made with 0700.

    With ``new`` a file that is there stays as it is, and False is returned. Raises Invalid for a
    folder that others may write in, or that is not to be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_folder(path.parent)
        return _put(path, text, new=new)
    except OSError as error:
        message = f"{path} cannot be written ({error.strerror})"
        raise Invalid(message) from error


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """Let nobody else change the file meanwhile, who asks for the same."""
    lock = os.open(path.with_name(f"{path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        flock(lock, LOCK_EX)
        yield
    finally:
        os.close(lock)


def _put(path: Path, text: str, *, new: bool) -> bool:
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123 - its mode from the start
            file.write(text)
            file.flush()
            os.fsync(handle)
        if new:
            path.hardlink_to(beside)
        else:
            beside.rename(path)
    except FileExistsError:
        return False
    finally:
        with suppress(FileNotFoundError):
            beside.unlink()
    _settle(path.parent)
    return True


def _settle(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _check_owner(path: Path, found: os.stat_result, forbidden: int) -> None:
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid not in (os.geteuid(), 0):
        message = f"{path} is another user's ({found.st_uid}); chown it to {os.geteuid()}"
        raise Invalid(message)
    if mode & forbidden:
        message = (
            f"{path} has mode {mode:04o}, so that others may have seen or changed what is in it;"
            " renew its secrets and chmod it to 0600"
        )
        raise Invalid(message)


def _check_folder(folder: Path) -> None:
    found = folder.stat()
    if found.st_uid not in (os.geteuid(), 0) or stat.S_IMODE(found.st_mode) & FOREIGN:
        message = f"in {folder} others may put files of theirs; chmod it to 0700, or name another"
        raise Invalid(message)
