"""Builds that have no row: accepted and not begun, or failed."""

from typing import Any

from sqlalchemy import and_, bindparam, exists, or_, select

from worker.model.ids import InstanceId
from worker.model.operation import OperationState
from worker.persistence.database import Database
from worker.persistence.fleet.seen import Told
from worker.persistence.journal.rows import operation_of
from worker.persistence.prepared import Query
from worker.persistence.schema import INSTANCES, LEASES, OPERATIONS

BUILD, DESTROY = "build_instance", "destroy_instance"

_IS_BUILD = OPERATIONS.c.method == BUILD
_OF_INSTANCE = Query(
    select(OPERATIONS)
    .where(
        OPERATIONS.c.instance_uuid == bindparam("instance"),
        or_(_IS_BUILD, OPERATIONS.c.method == DESTROY),
    )
    .order_by(OPERATIONS.c.sequence.desc())
    .limit(bindparam("most"))
)
_A_FEW = 20

_HAS_ROW = exists().where(INSTANCES.c.uuid == OPERATIONS.c.instance_uuid, INSTANCES.c.deleted == 0)
_WITHOUT_ROW = Query(
    select(OPERATIONS)
    .where(
        # By the index of hosts and states: the journal may be long.
        OPERATIONS.c.host.in_(select(LEASES.c.host)),
        or_(
            OPERATIONS.c.state == OperationState.QUEUED.value,
            OPERATIONS.c.state == OperationState.RUNNING.value,
        ),
        and_(_IS_BUILD, ~_HAS_ROW),
    )
    .order_by(OPERATIONS.c.sequence.desc())
    .limit(bindparam("most"))
)
_MANY = 1000

_NAMED = Query(
    select(INSTANCES.c.id).where(
        INSTANCES.c.host == bindparam("host"),
        INSTANCES.c.name == bindparam("name"),
        INSTANCES.c.deleted == 0,
    )
)


class Builds:
    """What the journal knows of instances without a row; may be shared by threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def build_of(self, instance: InstanceId) -> Told | None:
        """Return the build of an instance that has no row yet, or never will.

        None where it was asked to be destroyed since: of a build that has not ended it is the build
        that is returned, until it has.
        """
        found = self._tell(lambda each: _OF_INSTANCE.all(each, instance=instance, most=_A_FEW))
        builds = [told for told in found if told.operation.method == BUILD]
        if not builds or _is_gone(found[0], builds[0]):
            return None
        return builds[0]

    def builds(self) -> tuple[Told, ...]:
        """Return the builds that have not ended and whose instance has no row, newest first."""
        return self._tell(lambda each: _WITHOUT_ROW.all(each, most=_MANY))

    def has_name(self, host: str, name: str) -> bool:
        """Tell whether the host has a live instance of that name, or is to have one."""
        row = self._database.read(lambda each: _NAMED.first(each, host=host, name=name))
        told = (each for each in self.builds() if each.host == host)
        return row is not None or any(each.operation.arguments["name"] == name for each in told)

    def _tell(self, query: Any) -> tuple[Told, ...]:  # noqa: ANN401 - a query of a connection
        rows = self._database.read(query)
        return tuple(Told(host=row.host, operation=operation_of(row)) for row in rows)


def _is_gone(newest: Told, build: Told) -> bool:
    """Of a build that has succeeded the row says what became of it, or that it is gone."""
    if build.operation.state is OperationState.SUCCEEDED:
        return True
    return build.operation.state.ended and newest.operation.method == DESTROY
