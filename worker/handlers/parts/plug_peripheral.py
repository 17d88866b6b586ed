"""Plug an interface or a host device into its instance: what both kinds of attach do."""

from contextlib import suppress
from dataclasses import replace

from worker.errors import AddressTaken, DatabaseUnavailable, DeviceWrongState, LeftBehind
from worker.handlers.parts.find_peripheral import see
from worker.handlers.parts.instance_here import changeable_instance
from worker.model.block_device import DeviceStatus
from worker.model.guest import Guest
from worker.model.identity.alias import alias_of
from worker.model.ids import InstanceId, PeripheralId
from worker.model.peripheral import Peripheral, Plugged, row_made_by
from worker.model.places.placement import place_peripheral
from worker.model.rescue.meanwhile import with_places_taken
from worker.model.specification import Interface
from worker.ports import Ports
from worker.undo import Undo

RACES = 20
"""How many lost races for a place are tried again; each loss means that another one won."""


def plug_in(instance: InstanceId, what: Plugged, ports: Ports) -> Peripheral:
    """Make it visible in the instance, or leave no trace, its row included."""
    found = changeable_instance(instance, ports)
    found.check_built()
    uuid = _uuid(ports)
    row = ports.peripherals.look(uuid)
    if row is not None and row.status is DeviceStatus.ATTACHED:
        return row
    if row is None:
        guest = with_places_taken(ports.guests.describe(instance), found.rescue)
        row = _added(uuid, what, guest, ports)
    elif row.deleted:
        message = f"{row.kind} {row.uuid} was removed before it was attached"
        raise DeviceWrongState(message)
    try:
        return _attach(row, ports)
    except DatabaseUnavailable:
        raise
    except LeftBehind:
        ports.peripherals.save(replace(row, status=DeviceStatus.ERROR))
        raise


def _uuid(ports: Ports) -> PeripheralId:
    operation = ports.progress.operation
    if operation is None:
        raise AssertionError
    return row_made_by(operation.id)


def _added(uuid: PeripheralId, what: Plugged, guest: Guest, ports: Ports) -> Peripheral:
    """Keep a row with a place for it; a disk may be reserved there in the same moment."""
    for _ in range(RACES):
        row = _planned(uuid, what, guest, ports)
        with suppress(AddressTaken):
            ports.peripherals.insert(row)
            return row
    row = _planned(uuid, what, guest, ports)
    ports.peripherals.insert(row)
    return row


def _planned(uuid: PeripheralId, what: Plugged, guest: Guest, ports: Ports) -> Peripheral:
    disks = ports.devices.of_instance(guest.instance)
    others = ports.peripherals.of_instance(guest.instance)
    shown = {one.alias for layout in guest.layouts for one in layout.devices if one.alias}
    taken = shown | {disk.alias for disk in disks} | {other.alias for other in others}
    row = Peripheral(
        uuid=uuid,
        instance=guest.instance,
        what=what,
        alias=_alias(uuid, what, taken),
        address=place_peripheral(guest, disks, others, what),
    )
    # A guest that has the host device already, by other hands, is in doubt about it.
    see(row, guest, ports)
    return row


def _alias(uuid: PeripheralId, what: Plugged, taken: set[str]) -> str:
    port = what.port if isinstance(what, Interface) else None
    wanted = alias_of(port or uuid)
    return alias_of(uuid) if wanted in taken else wanted


def _attach(row: Peripheral, ports: Ports) -> Peripheral:
    with Undo(ports.progress) as undo:
        undo.earlier("guest_peripherals.attach", _take_back, row, ports)
        unplugged = ports.progress.reached("guest_peripherals.unplug")
        if unplugged and not ports.progress.past_commit_point:
            # An earlier run was on its way back: the guest may yet let go of what it still has.
            _take_back(row, ports)

        undo.by(_remove_row, row, ports)
        see(row, ports.guests.describe(row.instance), ports)

        undo.by(_take_back, row, ports)
        ports.guest_peripherals.attach(row.instance, row)
        undo.commit_point()

        row = replace(row, status=DeviceStatus.ATTACHED)
        ports.peripherals.save(row)
        return row


def _remove_row(row: Peripheral, ports: Ports) -> None:
    ports.peripherals.remove(row)


def _take_back(row: Peripheral, ports: Ports) -> None:
    """Undo an attach without a look whether the device is there: it may still be under way.

    And once more, for a guest that was started in between had it from the persistent layout.
    """
    ports.guest_peripherals.unplug(row.instance, row.alias)
    ports.guest_peripherals.forget(row.instance, row.alias)
    ports.guest_peripherals.unplug(row.instance, row.alias)
