"""Which devices of a persistent layout are to be given the aliases of their rows: pure.

A device is found as whatever looks for one finds it (``model/identity/lookup.py``). What is in
doubt is left alone, with the reason, and keeps no other device from its alias.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from worker.errors import DeviceAmbiguous
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.guest import GuestDevice, Layout
from worker.model.identity.lookup import (
    DeviceKind,
    Sought,
    find,
    find_by_alias,
)
from worker.model.identity.marking import MarkChange, marks_of
from worker.model.identity.marks import Adoption
from worker.model.identity.sought import sought_disk, sought_peripheral
from worker.model.ids import BlockDeviceId
from worker.model.peripheral import Peripheral, Plugged
from worker.model.specification import Interface

IN_LAYOUT = frozenset({DeviceStatus.ATTACHED, DeviceStatus.DETACHING, DeviceStatus.ERROR})
"""Rows whose device the persistent layout may have; a missing volume is left out of it."""


_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Result(StrEnum):
    """What becomes of a device."""

    BORNE = "borne"
    GIVEN = "given"
    ABSENT = "absent"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated:
    """The device of one row: whether it has the row's alias, gets it, or why it does not.

    ``name`` is what people call it. One that is ``skipped`` is in doubt, and ``why`` says so; one
    that is ``absent`` is not in the layout at all.
    """

    uuid: str
    name: str
    kind: DeviceKind
    alias: str
    result: Result
    device: GuestDevice | None = None
    why: str | None = None

    @property
    def former(self) -> str | None:
        """The alias that it bears until it gets the row's."""
        return None if self.device is None else self.device.alias

    def public(self) -> dict[str, str | None]:
        """Return the fields that may leave the worker."""
        found_by = {Result.BORNE: "alias", Result.GIVEN: "facts"}
        return {
            "uuid": self.uuid,
            "name": self.name,
            "kind": self.kind.value,
            "alias": self.alias,
            "former_alias": self.former if self.result is Result.GIVEN else None,
            "found_by": found_by.get(self.result),
            "result": self.result.value,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The rows of an instance and what else is known of it.

    ``sources`` is where the content of a row's disk is on this host, as far as that is known.
    """

    rows: Sequence[BlockDevice] = ()
    peripherals: Sequence[Peripheral] = ()
    sources: Mapping[BlockDeviceId, str] = field(default_factory=dict)
    adoption: Adoption | None = None


def migration_of(layout: Layout | None, known: Known) -> tuple[Migrated, ...]:
    """Return what becomes of the device of each row; without a layout none is there.

    No two devices get one alias, and one that bears its row's is left as it is, so that what is
    left to do afterwards is nothing.
    """
    found = [_look(layout, uuid, name, sought) for uuid, name, sought in _all_sought(known)]
    return tuple(_apart(found))


def named_sources(layout: Layout, rows: Iterable[BlockDevice]) -> dict[BlockDeviceId, str]:
    """Return the sources that themselves name the volume, or the local disk, of a row.

    For a host that cannot ask where they are: the layout is another one's.
    """
    sources = [disk.source for disk in layout.disks if disk.source is not None]
    named = {row.uuid: [one for one in sources if _names(one, row)] for row in rows}
    return {uuid: found[0] for uuid, found in named.items() if len(found) == 1}


def _names(source: str, row: BlockDevice) -> bool:
    return (row.volume or row.uuid) in _UUID.findall(source)


def skipped(row: Peripheral, why: str) -> Migrated:
    """Return that nothing can be done for an interface or host device."""
    return Migrated(
        uuid=row.uuid,
        name=_name(row.what),
        kind=sought_peripheral(row).kind,
        alias=row.alias,
        result=Result.SKIPPED,
        why=why,
    )


def changes_of(migration: Iterable[Migrated]) -> tuple[MarkChange, ...]:
    """Return what is to be written; a serial stays as it is."""
    return tuple(
        MarkChange(
            device=one.device,
            former=marks_of(one.device),
            wanted=replace(marks_of(one.device), alias=one.alias),
        )
        for one in migration
        if one.result is Result.GIVEN and one.device is not None
    )


def _all_sought(known: Known) -> Iterable[tuple[str, str, Sought]]:
    adoption = known.adoption or Adoption()
    for row in known.rows:
        former = adoption.marks_of(row.uuid)
        sought = sought_disk(row, known.sources.get(row.uuid))
        if row.status in IN_LAYOUT:
            alias = None if former is None else former.alias
            yield row.uuid, row.device_name, replace(sought, former=alias)
    for peripheral in known.peripherals:
        if peripheral.status in IN_LAYOUT:
            sought = sought_peripheral(peripheral, known.peripherals)
            yield peripheral.uuid, _name(peripheral.what), sought


def _name(what: Plugged) -> str:
    return what.mac if isinstance(what, Interface) else str(what)


def _look(layout: Layout | None, uuid: str, name: str, sought: Sought) -> Migrated:
    one = Migrated(uuid=uuid, name=name, kind=sought.kind, alias=sought.alias, result=Result.ABSENT)
    try:
        found = find(layout, sought)
    except DeviceAmbiguous as error:
        return replace(one, result=Result.SKIPPED, why=str(error))
    if found is None:
        return replace(one, why=_why_absent(sought))
    if found.by_alias:
        return replace(one, result=Result.BORNE, device=found.device)
    return _unless_borne(layout, replace(one, result=Result.GIVEN, device=found.device))


def _unless_borne(layout: Layout | None, one: Migrated) -> Migrated:
    """A look-up is among devices of one kind; an alias is one device's of any."""
    bearer = find_by_alias(layout, one.alias)
    if bearer is not None:
        return replace(one, result=Result.SKIPPED, why=f"{bearer} bears its alias")
    if layout is not None and one.alias in layout.others:
        return replace(one, result=Result.SKIPPED, why="a device of another kind bears its alias")
    return one


def _why_absent(sought: Sought) -> str:
    if sought.kind is DeviceKind.DISK and "source" not in sought.facts:
        return "nothing bears its alias, and where its content is on this host is not known"
    return "nothing bears its alias, and no two facts agree of any device"


def _apart(migration: Sequence[Migrated]) -> Iterable[Migrated]:
    """Of two rows that name one alias, or find one device, neither gets what is the other's."""
    named = Counter(one.alias for one in migration)
    found = [one.device for one in migration]
    for one in migration:
        if one.result is Result.GIVEN and named[one.alias] > 1:
            yield replace(one, result=Result.SKIPPED, why="another row names the same alias")
        elif one.result is Result.GIVEN and found.count(one.device) > 1:
            yield replace(one, result=Result.SKIPPED, why=f"another row finds {one.device} too")
        else:
            yield one
