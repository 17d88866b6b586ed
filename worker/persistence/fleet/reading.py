"""What is asked of the fleet's rows."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, func, or_, select, text
from sqlalchemy import Connection as SqlConnection

from worker.model.block_device import BlockDevice
from worker.model.ids import BlockDeviceId, InstanceId, OperationId, VolumeId
from worker.persistence.fleet.attached import AttachedVolume, attached_volumes
from worker.persistence.fleet.builds import Builds
from worker.persistence.fleet.operations import page_of
from worker.persistence.fleet.seen import Doing, Host, Server, Told, Wanted, WantedOperations
from worker.persistence.journal.rows import operation_of, step_of
from worker.persistence.prepared import Query
from worker.persistence.records.block_device_row import device_of
from worker.persistence.records.instances import instance_of
from worker.persistence.schema import BLOCK_DEVICES, INSTANCES, LEASES, OPERATIONS, STEPS

_INSTANCE = Query(
    select(INSTANCES)
    .where(INSTANCES.c.uuid == bindparam("which"))
    .order_by((INSTANCES.c.deleted == 0).desc(), INSTANCES.c.id.desc())
    .limit(1)
)
_DEVICES = Query(
    select(BLOCK_DEVICES)
    .where(BLOCK_DEVICES.c.instance_uuid == bindparam("instance"), BLOCK_DEVICES.c.deleted == 0)
    .order_by(BLOCK_DEVICES.c.id)
)
_DEVICE = Query(
    select(BLOCK_DEVICES).where(
        BLOCK_DEVICES.c.instance_uuid == bindparam("instance"),
        BLOCK_DEVICES.c.volume_id == bindparam("volume"),
        BLOCK_DEVICES.c.deleted == 0,
    )
)
_ROW = Query(select(BLOCK_DEVICES).where(BLOCK_DEVICES.c.uuid == bindparam("which")))
_OPERATION = Query(select(OPERATIONS).where(OPERATIONS.c.id == bindparam("which")))
_OPERATIONS = Query(
    select(OPERATIONS)
    .where(OPERATIONS.c.instance_uuid == bindparam("instance"))
    .order_by(OPERATIONS.c.sequence.desc())
    .limit(bindparam("most"))
)
_STEPS = Query(
    select(STEPS).where(STEPS.c.operation_id == bindparam("which")).order_by(STEPS.c.number)
)
_IN_CARE = (
    select(func.count())
    .select_from(INSTANCES)
    .where(INSTANCES.c.host == LEASES.c.host, INSTANCES.c.deleted == 0)
    .scalar_subquery()
)
_HOSTS = Query(
    select(LEASES.c.host, LEASES.c.expires_at, _IN_CARE.label("instances")).order_by(LEASES.c.host)
)


class Fleet(Builds):
    """Every host's rows; may be shared by threads."""

    def answers(self) -> None:
        """Return if the database answers; raises DatabaseUnavailable."""
        self._database.read(lambda connection: connection.execute(text("SELECT 1")).scalar())

    def server(self, instance: InstanceId) -> Server | None:
        """Return the instance; one that is gone too, as long as its row is kept."""
        row = self._first(_INSTANCE, which=instance)
        return None if row is None else _server(row)

    def servers(self, wanted: Wanted) -> tuple[Server, ...]:
        """Return a page of live instances, newest first."""
        rows = self._database.read(lambda connection: _page(connection, wanted))
        return tuple(map(_server, rows))

    def devices(self, instance: InstanceId) -> tuple[BlockDevice, ...]:
        """Return the live block devices of an instance, oldest first."""
        rows = self._database.read(lambda each: _DEVICES.all(each, instance=instance))
        return tuple(map(device_of, rows))

    def devices_of(
        self, instances: Collection[InstanceId]
    ) -> Mapping[InstanceId, tuple[BlockDevice, ...]]:
        """Return the live block devices of each, as ``devices`` does."""
        table = BLOCK_DEVICES.c
        query = select(BLOCK_DEVICES).where(table.instance_uuid.in_(instances), table.deleted == 0)
        ordered = query.order_by(table.id)
        found: dict[InstanceId, tuple[BlockDevice, ...]] = dict.fromkeys(instances, ())
        for row in self._database.read(lambda each: each.execute(ordered).all()):
            found[row.instance_uuid] += (device_of(row),)
        return found

    def attached(self, instance: InstanceId) -> tuple[AttachedVolume, ...]:
        """Return the volumes of an instance as a list shows them, oldest first."""
        return attached_volumes(self._database, instance)

    def device(self, instance: InstanceId, volume: VolumeId) -> BlockDevice | None:
        """Return the live block device of a volume on an instance."""
        row = self._first(_DEVICE, instance=instance, volume=volume)
        return None if row is None else device_of(row)

    def row(self, device: BlockDeviceId) -> BlockDevice | None:
        """Return a block device by its id, one that is gone too."""
        row = self._first(_ROW, which=device)
        return None if row is None else device_of(row)

    def operation(self, operation: OperationId) -> Told | None:
        """Return an operation with its steps."""

        def query(connection: SqlConnection) -> Told | None:
            row = _OPERATION.first(connection, which=operation)
            if row is None:
                return None
            steps = _STEPS.all(connection, which=operation)
            return Told(host=row.host, operation=operation_of(row, tuple(map(step_of, steps))))

        return self._database.read(query)

    def operations(self, instance: InstanceId, *, limit: int = 1000) -> tuple[Told, ...]:
        """Return the operations on an instance without their steps, newest first."""
        rows = self._database.read(
            lambda each: _OPERATIONS.all(each, instance=instance, most=limit)
        )
        return tuple(Told(host=row.host, operation=operation_of(row)) for row in rows)

    def listed(self, wanted: WantedOperations) -> tuple[Told, ...]:
        """Return a page of operations without their steps, newest first."""
        rows = self._database.read(lambda connection: page_of(connection, wanted))
        return tuple(Told(host=row.host, operation=operation_of(row)) for row in rows)

    def living(self, now: datetime) -> tuple[Host, ...]:
        """Return the hosts whose worker has renewed its lease, by name."""
        rows = self._database.read(_HOSTS.all)
        return tuple(
            Host(name=row.host, until=row.expires_at, instances=row.instances)
            for row in rows
            if row.expires_at > now
        )

    def _first(self, query: Query, **which: str) -> Any:  # noqa: ANN401 - a row of a table
        return self._database.read(lambda connection: query.first(connection, **which))


def _page(connection: SqlConnection, wanted: Wanted) -> Sequence[Any]:
    table = INSTANCES.c
    query = select(INSTANCES).where(table.deleted == 0, *_filters(wanted))
    last = None if wanted.after is None else _INSTANCE.first(connection, which=wanted.after)
    if last is not None:
        later = and_(table.created_at == last.created_at, table.id < last.id)
        query = query.where(or_(table.created_at < last.created_at, later))
    query = query.order_by(table.created_at.desc(), table.id.desc()).limit(wanted.limit)
    return connection.execute(query).all()


def _filters(wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    table = INSTANCES.c
    if wanted.project is not None:
        yield table.project_id == wanted.project
    if wanted.host is not None:
        yield table.host == wanted.host
    if wanted.states:
        yield table.vm_state.in_(wanted.states)
    if wanted.doing:
        yield or_(*map(_doing, wanted.doing))
    if wanted.name is not None:
        yield _named(table.name, wanted)


def _doing(wanted: Doing) -> ColumnElement[bool]:
    table = INSTANCES.c
    found = table.vm_state == wanted.state
    if wanted.tasks:
        found = and_(found, table.task_state.in_(wanted.tasks))
    if wanted.other_tasks:
        others = or_(table.task_state.is_(None), table.task_state.not_in(wanted.other_tasks))
        found = and_(found, others)
    return found


def _named(column: ColumnElement[str], wanted: Wanted) -> ColumnElement[bool]:
    if wanted.begins and wanted.ends:
        return column == wanted.name
    if wanted.begins:
        return column.startswith(wanted.name, autoescape=True)
    if wanted.ends:
        return column.endswith(wanted.name, autoescape=True)
    return column.contains(wanted.name, autoescape=True)


def _server(row: Any) -> Server:  # noqa: ANN401 - a row of the table
    return Server(
        instance=instance_of(row),
        created_at=row.created_at,
        updated_at=row.updated_at,
        deleted_at=row.deleted_at,
    )
