"""The database as one host's worker uses it: what it opens once, and once a request."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from worker.model.operation import Operation
from worker.persistence.database import Database
from worker.persistence.journal.cancelling import SqlCancelling
from worker.persistence.journal.operations import SqlOperations
from worker.persistence.journal.outbox import SqlOutbox, SqlUpdates
from worker.persistence.journal.progress import SqlOperationRecord, SqlProgress
from worker.persistence.journal.stuck import SqlStuckOperations
from worker.persistence.records.block_devices import SqlBlockDevices
from worker.persistence.records.connections import SqlConnections
from worker.persistence.records.instances import SqlInstances
from worker.persistence.records.moving import SqlMoves, SqlOwnOperations
from worker.persistence.records.peripherals import SqlPeripherals
from worker.persistence.records.pool_records import SqlPoolRecords
from worker.persistence.unit_of_work import UnitOfWork
from worker.ports import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRepositories:
    """What one request reads and writes, all through one unit of work.

    ``record`` is there for an operation; a call ends with ``unit.commit()`` instead.
    """

    unit: UnitOfWork
    devices: SqlBlockDevices
    peripherals: SqlPeripherals
    connections: SqlConnections
    instances: SqlInstances
    moves: SqlMoves
    own_operations: SqlOwnOperations
    updates: SqlUpdates
    stuck: SqlStuckOperations
    progress: SqlProgress
    record: SqlOperationRecord | None


class Repositories:
    """Everything that is kept for one host."""

    def __init__(self, database: Database, host: str, clock: Clock) -> None:
        self._database = database
        self._host = host
        self._clock = clock
        self._told = threading.Event()
        self.operations = SqlOperations(database, host, clock)
        self.cancelling = SqlCancelling(database, host, self.operations)
        self.outbox = SqlOutbox(database, host, clock, self._told)
        self.pool = SqlPoolRecords(database, host, clock)

    def for_call(self) -> RequestRepositories:
        """Return the repositories of one call."""
        unit = self._unit()
        return self._around(unit, None, SqlProgress(None, None, self.cancelling))

    def for_operation(
        self, operation: Operation, rest: Callable[[float], None] = time.sleep
    ) -> RequestRepositories:
        """Return the repositories of one operation, as the journal has it, steps included.

        ``rest`` waits, and raises Stopped where the worker is not to go on.
        """
        unit = self._unit()
        record = SqlOperationRecord(unit, operation)
        return self._around(unit, record, SqlProgress(record, operation, self.cancelling, rest))

    def _unit(self) -> UnitOfWork:
        return UnitOfWork(self._database, self._host, self._clock, self._told)

    def _around(
        self, unit: UnitOfWork, record: SqlOperationRecord | None, progress: SqlProgress
    ) -> RequestRepositories:
        return RequestRepositories(
            unit=unit,
            devices=SqlBlockDevices(unit),
            peripherals=SqlPeripherals(unit),
            connections=SqlConnections(unit),
            instances=SqlInstances(unit),
            moves=SqlMoves(unit),
            own_operations=SqlOwnOperations(unit),
            updates=SqlUpdates(unit),
            stuck=SqlStuckOperations(unit, self.operations),
            progress=progress,
            record=record,
        )
