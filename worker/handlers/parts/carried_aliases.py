"""A document whose domain names no device, as a host writes it that knows nothing of aliases."""

from dataclasses import replace

from worker.errors import DeviceAmbiguous
from worker.model.block_device import DeviceStatus
from worker.model.guest import GuestDisk, Layout
from worker.model.identity.alias import config_drive_alias
from worker.model.identity.marking import MarkChange, marks_of
from worker.model.identity.migrating import (
    Known,
    Migrated,
    Result,
    changes_of,
    migration_of,
    named_sources,
)
from worker.model.moving.carried import Carried
from worker.ports import Ports


def with_aliases(carried: Carried, ports: Ports) -> Carried:
    """Return it with a text in which each device bears the alias of its row.

    A document that has them all is returned as it is. Raises DeviceAmbiguous for a disk of which
    nothing says whether it is a row's: its place would be taken when the row's is put in.
    """
    layout = ports.definitions.layout(carried.text)
    migration = migration_of(layout, _known(carried, layout))
    for one in migration:
        _check(one, carried, layout)
    changes = (*changes_of(migration), *_config_drive(carried, layout))
    if not changes:
        return carried
    return replace(carried, text=ports.definitions.marked(carried.text, changes))


def _known(carried: Carried, layout: Layout) -> Known:
    """A volume is missing only until it is connected to this host."""
    rows = [replace(row, status=DeviceStatus.ATTACHED) for row in carried.rows]
    by_alias = {
        row.uuid: carried.sources[row.alias] for row in rows if row.alias in carried.sources
    }
    return Known(
        rows=rows,
        sources=named_sources(layout, rows) | by_alias,
        adoption=carried.instance.adoption,
    )


def _check(one: Migrated, carried: Carried, layout: Layout) -> None:
    if one.result is Result.SKIPPED:
        message = f"the document's domain: {one.why}"
        raise DeviceAmbiguous(message)
    row = next(row for row in carried.rows if row.uuid == one.uuid)
    there = [disk for disk in layout.disks if disk.target == row.target]
    if one.result is Result.ABSENT and there:
        message = f"the document's domain has {there[0]}, and nothing says that it is {row.alias}"
        raise DeviceAmbiguous(message)


def _config_drive(carried: Carried, layout: Layout) -> tuple[MarkChange, ...]:
    """The drive has no row; its file is in the instance's folder, on every host."""
    made_as, instance = carried.instance.specification, carried.instance.uuid
    alias = config_drive_alias(instance)
    borne = any(disk.alias == alias for disk in layout.disks)
    if made_as is None or not made_as.config_drive or borne:
        return ()
    found = [disk for disk in layout.disks if _is_config_drive(disk, instance)]
    if len(found) != 1:
        message = f"the document's domain has {len(found)} disks that may be its config drive"
        raise DeviceAmbiguous(message)
    former = marks_of(found[0])
    return (MarkChange(device=found[0], former=former, wanted=replace(former, alias=alias)),)


def _is_config_drive(disk: GuestDisk, instance: str) -> bool:
    in_folder = disk.source is not None and instance in disk.source.split("/")
    return disk.device == "cdrom" and disk.alias is None and in_folder
