"""Locks between lanes and between workers: files that the kernel lets go of with their holder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.image.files import PRIVATE_FILE, make_folder


@contextmanager
def held(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock, of which the file is made; yields whether it is held, if not to wait.

    Each opens the file anew: so two threads of a process exclude each other, too.
    """
    make_folder(path.parent)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, PRIVATE_FILE), "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
