"""Give the devices of an instance's next start the aliases of their rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from worker.errors import ConnectFailed, ProtocolUnsupported, WorkerError, told
from worker.handlers.parts.find_device import source_of
from worker.handlers.parts.lacking_peripherals import Lacking, add_lacking, lacking_of
from worker.model.block_device import BlockDevice
from worker.model.guest import Guest, Layout
from worker.model.identity.marking import MarkChange
from worker.model.identity.migrating import Known, Migrated, Result, changes_of, migration_of
from worker.model.ids import BlockDeviceId, InstanceId
from worker.model.instance import Instance
from worker.model.method import Method
from worker.model.operation import UNSETTLED, Fault
from worker.model.update import Event, Update
from worker.ports import Ports

TO_DO = (Result.GIVEN, Result.SKIPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrateAliases:
    """Operation: have each device of the persistent layout bear the alias of its row."""

    instance_uuid: InstanceId


def migrate_aliases(request: MigrateAliases, ports: Ports) -> None:
    """Write the aliases that are missing, all or none, and tell what became of each device.

    One in doubt is left as it is. A running guest keeps what it has until its next cold start;
    nothing is to be taken back, for an alias that is there is the row's (docs/adr/0021).
    """
    instance = ports.instances.get(request.instance_uuid)
    try:
        migration = _migrate(instance, ports)
    except WorkerError as error:
        _tell(instance, (), ports, Fault(code=error.code, message=told(error)))
        raise
    _tell(instance, migration, ports)


def look_for_aliases(instance: Instance, guest: Guest, ports: Ports) -> tuple[MigrateAliases, ...]:
    """Return the migration that the guest calls for: where a row or an alias is missing, or doubt.

    One that waits already, or that ended the worker so often that it is stuck, is not asked again.
    """
    if not _to_do(instance, guest.persistent, ports):
        return ()
    others = ports.operations.list(instance=instance.uuid, states=UNSETTLED)
    if any(other.method == Method.MIGRATE_ALIASES for other in others):
        return ()
    return (MigrateAliases(instance_uuid=instance.uuid),)


def migration_of_instance(
    instance: Instance, layout: Layout | None, ports: Ports, lacking: Lacking | None = None
) -> tuple[Migrated, ...]:
    """Return what a migration does for the device of each row, those ``lacking`` too.

    It changes nothing.
    """
    lacking = lacking or Lacking()
    rows = ports.devices.of_instance(instance.uuid)
    known = Known(
        rows=rows,
        peripherals=(*ports.peripherals.of_instance(instance.uuid), *lacking.rows),
        sources=_sources(_without_alias(layout, rows), ports),
        adoption=instance.adoption,
    )
    return (*migration_of(layout, known), *lacking.refused)


def _migrate(instance: Instance, ports: Ports) -> tuple[Migrated, ...]:
    layout = ports.guests.describe(instance.uuid).persistent
    lacking = lacking_of(instance, layout, ports)
    add_lacking(instance, lacking, ports)
    migration = migration_of_instance(instance, layout, ports, replace(lacking, rows=()))
    changes = changes_of(migration)
    if changes:
        _mark(instance, changes, ports)
    return migration


def _to_do(instance: Instance, layout: Layout | None, ports: Ports) -> bool:
    if lacking_of(instance, layout, ports).anything:
        return True
    return any(one.result in TO_DO for one in migration_of_instance(instance, layout, ports))


def _mark(instance: Instance, changes: Sequence[MarkChange], ports: Ports) -> None:
    """Write them; where the answer was lost, the layout says whether they are there."""
    try:
        ports.definitions.mark(instance.uuid, changes)
    except WorkerError:
        layout = ports.guests.describe(instance.uuid).persistent
        borne = set() if layout is None else {device.alias for device in layout.devices}
        if not all(change.wanted.alias in borne for change in changes):
            raise


def _without_alias(layout: Layout | None, rows: Sequence[BlockDevice]) -> list[BlockDevice]:
    """Only where one has to be found by facts, a host is asked for them."""
    borne = set() if layout is None else {disk.alias for disk in layout.disks}
    return [row for row in rows if row.alias not in borne]


def _sources(rows: Sequence[BlockDevice], ports: Ports) -> Mapping[BlockDeviceId, str]:
    """Return where the content of each disk is on this host, as far as anything says so."""
    found = {row.uuid: _source(row, ports) for row in rows}
    return {uuid: path for uuid, path in found.items() if path is not None}


def _source(row: BlockDevice, ports: Ports) -> str | None:
    try:
        return source_of(row, ports)
    except (ConnectFailed, ProtocolUnsupported):
        return None


def _tell(
    instance: Instance, migration: Sequence[Migrated], ports: Ports, fault: Fault | None = None
) -> None:
    operation = ports.progress.operation
    ports.updates.tell(
        Update(
            event=Event.ALIASES_MIGRATED,
            instance=instance.uuid,
            operation=None if operation is None else operation.id,
            request_id=None if operation is None else operation.request_id,
            fault=fault,
            count=sum(one.result is Result.GIVEN for one in migration),
            devices=tuple(one.public() for one in migration if one.result is not Result.BORNE),
        )
    )
