"""Retention: what may be forgotten once it is old enough."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlalchemy import Column, Select, Table, delete, exists, func, or_, select
from sqlalchemy import Connection as SqlConnection

from worker.model.operation import OperationState
from worker.persistence.database import Database
from worker.persistence.schema import (
    BLOCK_DEVICES,
    CONNECTIONS,
    INSTANCES,
    OPERATIONS,
    PERIPHERALS,
    UPDATES,
)

AT_ONCE = 500
"""Rows a transaction, so that a long purge does not hold up the worker."""

REST = 0.2
"""Seconds between two transactions, at least.

Whoever waits for SQLite's lock looks for it ten times a second, and would hardly find it free.
"""

Rest = Callable[[float], None]

FORGETTABLE = tuple(
    state.value
    for state in (OperationState.SUCCEEDED, OperationState.FAILED, OperationState.ABANDONED)
)
"""A stuck operation still names what was left behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """How many rows were deleted of each kind."""

    block_devices: int
    peripherals: int
    instances: int
    operations: int
    updates: int


def purge(database: Database, before: datetime, rest: Rest = time.sleep) -> Purged:
    """Delete what was removed, ended or published before that time; may be stopped and run again.

    On SQLite it rests between its transactions for as long as they take, so that the worker writes.
    A removed row is kept while its connection record exists. The steps go with their operation.
    The newest update of those without an instance stays, and the numbering with it.
    """
    lite = database.engine.dialect.name == "sqlite"
    delete_all = partial(_delete, database, rest if lite else _go_on)
    return Purged(
        block_devices=delete_all(BLOCK_DEVICES.c.id, _devices(before)),
        peripherals=delete_all(PERIPHERALS.c.id, _removed(PERIPHERALS, before)),
        instances=delete_all(INSTANCES.c.id, _removed(INSTANCES, before)),
        operations=delete_all(OPERATIONS.c.sequence, _operations(before)),
        updates=delete_all(UPDATES.c.id, _updates(before)),
    )


def _devices(before: datetime) -> Select[int]:
    connected = exists().where(CONNECTIONS.c.bdm_uuid == BLOCK_DEVICES.c.uuid)
    return select(BLOCK_DEVICES.c.id).where(
        BLOCK_DEVICES.c.deleted != 0, BLOCK_DEVICES.c.deleted_at < before, ~connected
    )


def _removed(table: Table, before: datetime) -> Select[int]:
    return select(table.c.id).where(table.c.deleted != 0, table.c.deleted_at < before)


def _operations(before: datetime) -> Select[int]:
    return select(OPERATIONS.c.sequence).where(
        OPERATIONS.c.state.in_(FORGETTABLE), OPERATIONS.c.ended_at < before
    )


def _updates(before: datetime) -> Select[int]:
    newest = select(func.max(UPDATES.c.id)).where(UPDATES.c.instance_uuid == "")
    by_host = newest.group_by(UPDATES.c.host)
    return select(UPDATES.c.id).where(
        UPDATES.c.published_at < before,
        or_(UPDATES.c.instance_uuid != "", UPDATES.c.id.not_in(by_host)),
    )


def _go_on(_seconds: float) -> None:
    """Rest not at all: a server's writers work side by side."""


def _delete(database: Database, rest: Rest, key: Column[int], which: Select[int]) -> int:
    """MariaDB deletes from no table that the same statement reads: find first, then delete."""
    deleted = 0
    while found := database.read(partial(_find, which.limit(AT_ONCE))):
        begun = time.monotonic()
        database.write(partial(_delete_these, key, found))
        deleted += len(found)
        if len(found) == AT_ONCE:
            rest(max(REST, time.monotonic() - begun))
    return deleted


def _find(which: Select[int], connection: SqlConnection) -> list[int]:
    return list(connection.execute(which).scalars())


def _delete_these(key: Column[int], found: list[int], connection: SqlConnection) -> None:
    table = key.table
    if isinstance(table, Table):
        connection.execute(delete(table).where(key.in_(found)))
