"""One worker a host, one worker a state folder."""

import fcntl
import os
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import bindparam, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from worker.errors import WorkerBusy
from worker.model.ids import new_uuid
from worker.persistence.database import Database
from worker.persistence.schema import LEASES as TABLE
from worker.ports import Clock

LASTS = timedelta(seconds=30)

_IS_HOST = TABLE.c.host == bindparam("worker")
_IS_OURS = TABLE.c.state_folder == bindparam("folder")
_HELD = select(TABLE).where(_IS_HOST)
_INSERT = insert(TABLE)
_TAKE = update(TABLE).where(_IS_HOST, or_(_IS_OURS, TABLE.c.expires_at <= bindparam("now")))
_RENEW = update(TABLE).where(_IS_HOST, _IS_OURS)
_RELEASE = delete(TABLE).where(_IS_HOST, _IS_OURS)


class Lease:
    """The right to be the worker of a host: a lock on the state folder and a row that expires.

    After a crash the same folder takes the row over at once, since its lock shows that nobody
    else works there; another folder has to let it expire.
    """

    def __init__(
        self, database: Database, host: str, owner: str, state_folder: Path, clock: Clock
    ) -> None:
        """``owner`` is what another worker is told about this one."""
        self._database = database
        self._host = host
        self._owner = owner
        self._folder = state_folder
        self._clock = clock
        self._lock: int | None = None
        self._folder_id = ""

    def acquire(self) -> None:
        """Take the lease, or raise WorkerBusy naming who has it; it lasts 30 s."""
        self._lock = _locked(self._folder / "lock", self._owner)
        try:
            self._folder_id = _identity(self._folder / "id")
            self._take()
        except BaseException:
            self._unlock()
            raise

    def renew(self) -> None:
        """Let it last 30 s from now; raises WorkerBusy if it was lost."""
        values = self._values() | {"worker": self._host, "folder": self._folder_id}
        if not self._database.write(partial(_renew, values)):
            message = f"the lease of host {self._host} was taken by {self._holder()}"
            raise WorkerBusy(message)

    def release(self) -> None:
        """Give it back; one that was lost is fine."""
        which = {"worker": self._host, "folder": self._folder_id}
        try:
            self._database.write(partial(_release, which))
        finally:
            self._unlock()

    def _take(self) -> None:
        which = {"worker": self._host, "folder": self._folder_id, "now": self._clock.now()}
        try:
            self._database.write(partial(_take, which, self._values()))
        except IntegrityError as error:
            message = f"host {self._host} is held by {self._holder()}"
            raise WorkerBusy(message) from error

    def _values(self) -> dict[str, Any]:
        return {
            "host": self._host,
            "owner": self._owner,
            "state_folder": self._folder_id,
            "expires_at": self._clock.now() + LASTS,
        }

    def _holder(self) -> str:
        which = {"worker": self._host}
        held = self._database.read(lambda connection: connection.execute(_HELD, which).first())
        if held is None:
            return "nobody any more"
        left = (held.expires_at - self._clock.now()).total_seconds()
        return f"{held.owner}, for {max(0.0, left):.0f} s more unless it renews"

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _take(which: dict[str, Any], values: dict[str, Any], connection: SqlConnection) -> None:
    if not connection.execute(_TAKE, which | values).rowcount:
        connection.execute(_INSERT, values)


def _renew(values: dict[str, Any], connection: SqlConnection) -> bool:
    return connection.execute(_RENEW, values).rowcount > 0


def _release(which: dict[str, Any], connection: SqlConnection) -> None:
    connection.execute(_RELEASE, which)


def _locked(path: Path, owner: str) -> int:
    """Return the open file; the kernel drops its lock with the process, however that dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(file, 1000).decode(errors="replace") or "another process"
        os.close(file)
        message = f"the state folder {path.parent} is held by {holder}"
        raise WorkerBusy(message) from error
    os.truncate(file, 0)
    os.write(file, owner.encode())
    return file


def _identity(path: Path) -> str:
    """Return the folder's own id, drawn when it is first used; its lock is held meanwhile."""
    with suppress(FileNotFoundError):
        # A crash of the host may have left it empty.
        if known := path.read_text().strip():
            return known
    drawn = new_uuid()
    fresh = path.with_suffix(".new")
    fresh.write_text(drawn)
    fresh.rename(path)
    return drawn
