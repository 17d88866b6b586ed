"""Which process works on a state folder: found by its lock, and never guessed."""

import os
import re
import socket
from contextlib import suppress
from pathlib import Path

from worker.errors import Invalid, WorkerUnreachable

NAMED = re.compile(r"process (\d+) on (.+)")


def owner() -> str:
    """Return what this process writes into the lock."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def holder(state: Path) -> int:
    """Return the process that holds the state folder's lock.

    The kernel drops the lock with the process, but the file and its number stay: it counts only
    if that process has this very file open. Raises WorkerUnreachable when nobody does, Invalid
    when that cannot be told from here.
    """
    lock = state / "lock"
    try:
        found = NAMED.fullmatch(lock.read_text(errors="replace").strip())
    except FileNotFoundError as error:
        raise WorkerUnreachable(f"no worker runs in {state}: it has no lock") from error
    except OSError as error:
        raise Invalid(f"{lock} cannot be read: {error.strerror}") from error
    if found is None:
        raise WorkerUnreachable(f"no worker runs in {state}: its lock names none")
    pid, host = int(found[1]), found[2]
    if host != socket.gethostname():
        raise Invalid(f"the worker of {state} runs on {host}, and can be drained there only")
    if not _has_open(pid, lock):
        raise WorkerUnreachable(f"no worker runs in {state}: process {pid} is gone")
    return pid


def _has_open(pid: int, path: Path) -> bool:
    wanted = path.stat()
    try:
        entries = list(Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:
        return False
    except PermissionError as error:
        raise Invalid(f"process {pid} belongs to another user; be that user, or root") from error
    for entry in entries:
        with suppress(OSError):
            if os.path.samestat(entry.stat(), wanted):
                return True
    return False
