"""The rows of interfaces and host devices that an older release kept none of."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from worker.model.guest import GuestDevice, Layout
from worker.model.host_device import HostDevice
from worker.model.identity.lookup import Doubt, look_up
from worker.model.identity.marks import Adoption
from worker.model.identity.migrating import Migrated, skipped
from worker.model.identity.sought import sought_peripheral
from worker.model.ids import PeripheralId
from worker.model.instance import Instance
from worker.model.moving.peripheral_origin import id_of_found
from worker.model.peripheral import Peripheral
from worker.model.peripheral_rows import rows_of_layout, rows_of_specification
from worker.model.specification import Interface
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """Rows that are to be added; ``refused`` says why others cannot be by now.

    ``adoption`` is what is to be kept of an adopted instance with them, if that changes.
    """

    rows: tuple[Peripheral, ...] = ()
    refused: tuple[Migrated, ...] = ()
    adoption: Adoption | None = None

    @property
    def anything(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.rows) or self.adoption is not None


def lacking_of(instance: Instance, layout: Layout | None, ports: Ports) -> Lacking:
    """Return what is lacking; it changes nothing.

    A device that had a row once is not taken in again, and what other hands have given to a guest
    since its peripherals are kept is not ours.
    """
    if layout is None:
        return Lacking()
    draw = partial(id_of_found, instance.uuid)
    if instance.specification is not None:
        planned = rows_of_specification(instance.uuid, instance.specification, draw)
        there = [row for row in planned if _is_there(row, layout)]
        return _possible(instance, _new(there, ports), ports)
    kept = instance.adoption or Adoption()
    rows = rows_of_layout(instance.uuid, _without_known(instance, layout, ports), draw).rows
    wanted = [row for row in rows if not kept.peripherals or row.uuid in kept.awaited]
    found = _possible(instance, _new(wanted, ports), ports)
    awaited = tuple(PeripheralId(one.uuid) for one in found.refused)
    adoption = replace(kept, peripherals=True, awaited=awaited)
    return replace(found, adoption=None if adoption == kept else adoption)


def add_lacking(instance: Instance, lacking: Lacking, ports: Ports) -> None:
    """Keep all of it at once: of some rows alone nobody could tell that the others lack."""
    if lacking.anything:
        adoption = lacking.adoption or instance.adoption
        ports.instances.adopt_peripherals(replace(instance, adoption=adoption), lacking.rows)


def _is_there(row: Peripheral, layout: Layout) -> bool:
    """One that was detached has no row once that is purged, and is to get no other."""
    mac = row.what.mac if isinstance(row.what, Interface) else None
    return any(row.alias == one.alias or mac == one.mac for one in layout.interfaces)


def _without_known(instance: Instance, layout: Layout, ports: Ports) -> Layout:
    """Return the layout without what has a row, may be that of one, or had one."""
    known = list(_known(ports.peripherals.of_instance(instance.uuid), layout))

    def unknown(device: GuestDevice) -> bool:
        alias = device.alias
        had = None if alias is None else ports.peripherals.bearing(instance.uuid, alias)
        return device not in known and had is None

    return replace(
        layout,
        interfaces=tuple(one for one in layout.interfaces if unknown(one)),
        host_devices=tuple(one for one in layout.host_devices if unknown(one)),
    )


def _known(rows: Iterable[Peripheral], layout: Layout) -> Iterator[GuestDevice]:
    for row in rows:
        found = look_up(layout, sought_peripheral(row))
        if isinstance(found, Doubt):
            yield from found.devices
        elif found is not None:
            yield found.device


def _new(rows: Sequence[Peripheral], ports: Ports) -> list[Peripheral]:
    return [
        row
        for row in rows
        if ports.peripherals.look(row.uuid) is None
        and ports.peripherals.bearing(row.instance, row.alias) is None
    ]


def _possible(instance: Instance, rows: Sequence[Peripheral], ports: Ports) -> Lacking:
    taken = {str(one.address) for one in ports.devices.of_instance(instance.uuid)}
    taken |= {str(one.address) for one in ports.peripherals.of_instance(instance.uuid)}
    refused = {row.uuid: why for row in rows if (why := _why_not(row, taken, ports))}
    return Lacking(
        rows=tuple(row for row in rows if row.uuid not in refused),
        refused=tuple(skipped(row, refused[row.uuid]) for row in rows if row.uuid in refused),
    )


def _why_not(row: Peripheral, taken: Iterable[str], ports: Ports) -> str | None:
    having = ports.peripherals.having(row.what) if isinstance(row.what, HostDevice) else None
    if having is not None:
        return f"instance {having.instance} has it"
    return f"address {row.address} is taken" if str(row.address) in taken else None
