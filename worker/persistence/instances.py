"""The rows of ``instances``."""

from functools import partial
from typing import Any

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import Row, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from worker.errors import InstanceNotFound, InstanceTaken
from worker.model.ids import InstanceId
from worker.model.instance import Instance, VmState
from worker.persistence.prepared import Query
from worker.persistence.schema import INSTANCES as TABLE
from worker.persistence.specification_json import json_of, specification_of
from worker.persistence.telling import highest
from worker.persistence.unit_of_work import UnitOfWork
from worker.ports import Instances

_OF_HOST = select(TABLE).where(TABLE.c.host == bindparam("worker"), TABLE.c.deleted == 0)
_GET = Query(_OF_HOST.where(TABLE.c.uuid == bindparam("which")))
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
        row = self._unit.read(lambda connection: _GET.first(connection, **which))
        if row is None:
            message = f"no instance {instance} on host {self._unit.host}"
            raise InstanceNotFound(message)
        return _instance(row)

    def list(self) -> tuple[Instance, ...]:
        """Return the instances of this host, by name."""
        which = {"worker": self._unit.host}
        rows = self._unit.read(lambda connection: connection.execute(_OF_HOST, which).all())
        return tuple(sorted((_instance(row) for row in rows), key=lambda one: one.name))

    def insert(self, instance: Instance) -> None:
        """Add a row, at once; raises InstanceTaken."""
        now = self._unit.clock.now()
        made = {
            "uuid": instance.uuid,
            "specification": json_of(instance.specification),
            "created_at": now,
            "updated_at": now,
            "deleted": 0,
        }
        self._unit.commit(partial(_add, made | _values(instance)))

    def save(self, instance: Instance) -> None:
        """Keep the row as given, but for its specification, with the next commit."""
        which = {"which": instance.uuid, "worker": self._unit.host}
        change = _values(instance) | {"updated_at": self._unit.clock.now()}
        self._unit.append(partial(_save, which | change))

    def remove(self, instance: InstanceId) -> None:
        """Delete the row (softly), with the next commit; one that is gone is fine."""
        which = {"which": instance, "worker": self._unit.host, "at": self._unit.clock.now()}
        self._unit.append(partial(_remove, which))


def _add(values: dict[str, Any], connection: SqlConnection) -> None:
    """Updates told of an instance before it had a row, or a new one, keep their numbers."""
    last = highest(connection, instance=values["uuid"], worker=values["host"])
    try:
        connection.execute(_INSERT, values | {"update_sequence": last})
    except IntegrityError as error:
        message = f"instance {values['uuid']} was adopted before, or another host's worker has it"
        raise InstanceTaken(message) from error


def _save(values: dict[str, Any], connection: SqlConnection) -> None:
    connection.execute(_SAVE, values)


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
    }


def _instance(row: Row[Any]) -> Instance:
    return Instance(
        uuid=row.uuid,
        host=row.host,
        name=row.name,
        vm_state=VmState(row.vm_state),
        task_state=row.task_state,
        project_id=row.project_id,
        user_id=row.user_id,
        specification=specification_of(row.specification),
    )
