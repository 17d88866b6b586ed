"""The rows of ``instances``."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import Select, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from worker.errors import InstanceNotFound, InstanceTaken
from worker.model.block_device import BlockDevice
from worker.model.ids import InstanceId
from worker.model.instance import Instance, TaskState, VmState
from worker.model.peripheral import Peripheral
from worker.model.rescue.plain import json_of as json_of_rescue
from worker.model.rescue.plain import rescue_of
from worker.model.specification_plain import adoption_in, json_of, specification_in
from worker.persistence.journal.telling import highest
from worker.persistence.prepared import Query
from worker.persistence.records.block_device_writes import adding
from worker.persistence.records.peripherals import adding as adding_peripheral
from worker.persistence.records.sharing_places import locking, no_disk_at
from worker.persistence.schema import INSTANCES as TABLE
from worker.persistence.unit_of_work import UnitOfWork
from worker.ports import Instances

_OF_HOST = select(TABLE).where(TABLE.c.host == bindparam("worker"), TABLE.c.deleted == 0)
_GET = Query(_OF_HOST.where(TABLE.c.uuid == bindparam("which")))
_IN_RESCUE = _OF_HOST.where(TABLE.c.rescue.is_not(None))
_INSERT = insert(TABLE)
_SAVE = update(TABLE).where(
    TABLE.c.uuid == bindparam("which"),
    TABLE.c.host == bindparam("worker"),
    TABLE.c.deleted == 0,
)
_REMOVE = (
    update(TABLE)
    .where(
        TABLE.c.uuid == bindparam("which"),
        TABLE.c.host == bindparam("worker"),
        TABLE.c.deleted == 0,
    )
    .values(deleted=TABLE.c.id, deleted_at=bindparam("at"))
)


class SqlInstances(Instances):
    """``instances`` of one host, for one request."""

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit

    def get(self, instance: InstanceId) -> Instance:
        """Return the instance of this host; raises InstanceNotFound."""
        which = {"worker": self._unit.host, "which": instance}
        row = self._unit.read(lambda connection: _GET.first(connection, **which), TABLE)
        if row is None:
            message = f"no instance {instance} on host {self._unit.host}"
            raise InstanceNotFound(message)
        return instance_of(row)

    def list(self) -> tuple[Instance, ...]:
        """Return the instances of this host, by name."""
        return tuple(sorted(self._all(_OF_HOST), key=lambda one: one.name))

    def in_rescue(self) -> tuple[Instance, ...]:
        """Return those that are in rescue, or on their way there or back."""
        return self._all(_IN_RESCUE)

    def insert(
        self,
        instance: Instance,
        devices: Sequence[BlockDevice] = (),
        others: Sequence[Peripheral] = (),
    ) -> None:
        """Add a row, and those of its devices, at once.

        Raises InstanceTaken, IdTaken, PeripheralTaken.
        """
        now = self._unit.clock.now()
        rows = [adding(device, now) for device in devices]
        rows += [adding_peripheral(each, self._unit.host, now) for each in others]
        self._unit.commit(partial(adding_instance, instance_values(instance, now)), *rows)

    def adopt_peripherals(self, instance: Instance, others: Sequence[Peripheral]) -> None:
        """Add rows to an instance that has one, and keep its adoption as given, all at once.

        Raises Conflict where any of them is refused; then nothing is kept.
        """
        now = self._unit.clock.now()
        writes = [locking(instance.uuid)]
        if instance.specification is None:
            which = {"which": instance.uuid, "worker": self._unit.host}
            kept = {"specification": json_of(None, instance.adoption), "updated_at": now}
            writes.append(partial(_save, which | kept))
        for each in others:
            writes.append(adding_peripheral(each, self._unit.host, now))
            writes.append(no_disk_at(instance.uuid, each.address))
        self._unit.commit(*writes)

    def save(self, instance: Instance) -> None:
        """Keep the row as given, but for its specification, with the next commit."""
        which = {"which": instance.uuid, "worker": self._unit.host}
        change = _values(instance) | {"updated_at": self._unit.clock.now()}
        self._unit.append(partial(_save, which | change), TABLE)

    def change_task(
        self, instance: InstanceId, *, was: TaskState | None, becomes: TaskState | None
    ) -> None:
        """Say what is being done with the instance, if it says ``was``, with the next commit."""
        which = {"which": instance, "worker": self._unit.host}
        change = {"task_state": becomes, "updated_at": self._unit.clock.now()}
        self._unit.append(partial(_change_task, was, which | change), TABLE)

    def remove(self, instance: InstanceId) -> None:
        """Delete the row (softly), with the next commit; one that is gone is fine."""
        which = {"which": instance, "worker": self._unit.host, "at": self._unit.clock.now()}
        self._unit.append(partial(_remove, which), TABLE)

    def _all(self, query: Select[Any]) -> tuple[Instance, ...]:
        which = {"worker": self._unit.host}
        rows = self._unit.survey(lambda connection: connection.execute(query, which).all())
        return tuple(instance_of(row) for row in rows)


def instance_values(instance: Instance, now: datetime) -> dict[str, Any]:
    """Return the columns of a new row."""
    return _values(instance) | {
        "uuid": instance.uuid,
        "specification": json_of(instance.specification, instance.adoption),
        "created_at": now,
        "updated_at": now,
        "deleted": 0,
    }


def adding_instance(values: dict[str, Any], connection: SqlConnection) -> None:
    """Add a row; updates told of the instance before it had one keep their numbers."""
    last = highest(connection, instance=values["uuid"], worker=values["host"])
    try:
        connection.execute(_INSERT, values | {"update_sequence": last})
    except IntegrityError as error:
        message = f"instance {values['uuid']} was adopted before, or another host's worker has it"
        raise InstanceTaken(message) from error


def _save(values: dict[str, Any], connection: SqlConnection) -> None:
    connection.execute(_SAVE, values)


def _change_task(was: TaskState | None, values: dict[str, Any], connection: SqlConnection) -> None:
    connection.execute(_SAVE.where(TABLE.c.task_state.is_not_distinct_from(was)), values)


def _remove(which: dict[str, Any], connection: SqlConnection) -> None:
    connection.execute(_REMOVE, which)


def _values(instance: Instance) -> dict[str, Any]:
    return {
        "host": instance.host,
        "name": instance.name,
        "vm_state": instance.vm_state.value,
        "task_state": instance.task_state,
        "project_id": instance.project_id,
        "user_id": instance.user_id,
        "rescue": None if instance.rescue is None else json_of_rescue(instance.rescue),
    }


def instance_of(row: Any) -> Instance:  # noqa: ANN401 - a row of the table
    """Read an instance."""
    return Instance(
        uuid=row.uuid,
        host=row.host,
        name=row.name,
        vm_state=VmState(row.vm_state),
        task_state=None if row.task_state is None else TaskState(row.task_state),
        project_id=row.project_id,
        user_id=row.user_id,
        specification=specification_in(row.specification),
        adoption=adoption_in(row.specification),
        rescue=None if row.rescue is None else rescue_of(row.rescue),
    )
