"""Instances that come from another host's worker, or go to one; and what follows a call."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import bindparam, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from worker.errors import IdTaken, InstanceTaken
from worker.model.block_device import BlockDevice
from worker.model.ids import InstanceId
from worker.model.instance import Instance, TaskState
from worker.model.operation import Operation
from worker.model.peripheral import Peripheral
from worker.persistence.journal.rows import operation_values
from worker.persistence.journal.telling import highest
from worker.persistence.prepared import Change, Query
from worker.persistence.records.block_device_row import row_values
from worker.persistence.records.block_device_writes import refusal_of
from worker.persistence.records.instances import adding_instance, instance_of, instance_values
from worker.persistence.records.peripherals import bringing
from worker.persistence.schema import BLOCK_DEVICES, INSTANCES, OPERATIONS
from worker.persistence.unit_of_work import UnitOfWork
from worker.ports.moving import Moves, OwnOperations

_FIND = Query(
    select(INSTANCES).where(INSTANCES.c.uuid == bindparam("which"), INSTANCES.c.deleted == 0)
)
_OF_HOST = (
    INSTANCES.c.uuid == bindparam("which"),
    INSTANCES.c.host == bindparam("worker"),
    INSTANCES.c.deleted == 0,
)
_KEPT = Query(select(INSTANCES.c.document).where(*_OF_HOST))
_KEEP = update(INSTANCES).where(*_OF_HOST)
_TAKE_OVER = Change(
    update(INSTANCES).where(
        INSTANCES.c.uuid == bindparam("which"),
        INSTANCES.c.deleted == 0,
        INSTANCES.c.task_state == TaskState.RELEASED.value,
    )
)
_REVIVE = Change(
    update(BLOCK_DEVICES).where(
        BLOCK_DEVICES.c.uuid == bindparam("which"),
        BLOCK_DEVICES.c.instance_uuid == bindparam("whose"),
    )
)
_OF_ANOTHER = Query(
    select(BLOCK_DEVICES.c.id).where(
        BLOCK_DEVICES.c.uuid == bindparam("which"),
        or_(
            BLOCK_DEVICES.c.instance_uuid != bindparam("whose"),
            BLOCK_DEVICES.c.instance_uuid.is_(None),
        ),
    )
)
_INSERT_ROW = Change(insert(BLOCK_DEVICES))
_INSERT_OPERATION = Change(insert(OPERATIONS))


class SqlMoves(Moves):
    """``instances`` and ``block_device_mapping``, for one request."""

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit

    def find(self, instance: InstanceId) -> Instance | None:
        """Return the instance, whichever host of this database has it."""
        row = self._unit.read(lambda connection: _FIND.first(connection, which=instance))
        return None if row is None else instance_of(row)

    def keep(self, instance: InstanceId, document: Mapping[str, Any]) -> None:
        """Keep the document of an instance that is let go, with the next commit."""
        change = {"which": instance, "worker": self._unit.host, "document": document}
        self._unit.append(partial(_keep, change), INSTANCES)

    def kept(self, instance: InstanceId) -> Mapping[str, Any] | None:
        """Return the document that was kept of an instance of this host, None for none."""
        which = {"which": instance, "worker": self._unit.host}
        row = self._unit.read(lambda connection: _KEPT.first(connection, **which))
        return None if row is None else row.document

    def bring_in(
        self,
        instance: Instance,
        devices: Sequence[BlockDevice],
        others: Sequence[Peripheral] = (),
    ) -> None:
        """Make the instance and its rows this host's, at once and together."""
        now = self._unit.clock.now()
        times = {"created_at": now, "updated_at": now, "deleted_at": None}
        rows = [(device, row_values(device) | times) for device in devices]
        self._unit.commit(
            partial(_bring_instance, instance, instance_values(instance, now)),
            *(partial(_bring_row, device, values) for device, values in rows),
            *(bringing(each, instance.host, now) for each in others),
        )


class SqlOwnOperations(OwnOperations):
    """``operations``, for one request."""

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit

    def begin(self, operation: Operation) -> None:
        """Keep the operation in the journal, with the next durable change."""
        kept = replace(operation, accepted_at=self._unit.clock.now())
        self._unit.note(partial(_begin, operation_values(kept, self._unit.host)))


def _keep(change: Mapping[str, Any], connection: SqlConnection) -> None:
    connection.execute(_KEEP, change)


def _bring_instance(instance: Instance, values: dict[str, Any], connection: SqlConnection) -> None:
    known = _FIND.first(connection, which=instance.uuid)
    if known is None:
        adding_instance(values, connection)
        return
    changed = {name: value for name, value in values.items() if name != "created_at"}
    # Numbers go up, on whichever host they were drawn.
    told = highest(connection, instance=instance.uuid, worker=instance.host)
    changed |= {"which": instance.uuid, "update_sequence": max(told, known.update_sequence)}
    changed |= {"document": None}
    if not _TAKE_OVER.run(connection, changed):
        message = f"instance {instance.uuid} is here, and was not released"
        raise InstanceTaken(message)


def _bring_row(device: BlockDevice, values: Mapping[str, Any], connection: SqlConnection) -> None:
    which = {"which": device.uuid, "whose": device.instance}
    if _OF_ANOTHER.first(connection, **which) is not None:
        message = f"block device id {device.uuid} was used before"
        raise IdTaken(message)
    changed = {name: value for name, value in values.items() if name != "created_at"}
    try:
        if not _REVIVE.run(connection, {**changed, **which}):
            _INSERT_ROW.run(connection, values)
    except IntegrityError as error:
        raise refusal_of(device, error) from error


def _begin(values: Mapping[str, Any], connection: SqlConnection) -> None:
    _INSERT_OPERATION.run(connection, values)
