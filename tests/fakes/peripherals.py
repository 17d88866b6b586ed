"""Interfaces and host devices of guests, without a hypervisor."""

from collections.abc import Mapping

from tests.fakes.world import FakeGuest, ShownPeripheral, World
from worker.errors import DomainNotFound, GuestBusy, HypervisorRefused
from worker.model.disk import Disk
from worker.model.guest import GuestHostDevice, GuestInterface
from worker.model.host_device import HostDevice
from worker.model.identity.alias import is_kept
from worker.model.ids import InstanceId
from worker.model.peripheral import Peripheral
from worker.model.specification import Interface, InterfaceKind
from worker.ports import GuestPeripherals

KINDS = {
    InterfaceKind.BRIDGE: "bridge",
    InterfaceKind.TAP: "ethernet",
    InterfaceKind.USER: "user",
}


def shown_peripheral(peripheral: Peripheral) -> ShownPeripheral:
    # One of other hands has no alias.
    alias = peripheral.alias or None
    match peripheral.what:
        case Interface() as interface:
            return GuestInterface(
                mac=interface.mac.lower(),
                alias=alias,
                address=peripheral.address,
                kind=KINDS[interface.kind],
                target=interface.target,
                model=interface.model,
            )
        case HostDevice() as device:
            return GuestHostDevice(source=device, alias=alias, address=peripheral.address)


class FakeGuestPeripherals(GuestPeripherals):
    def __init__(self, world: World) -> None:
        self.world = world

    def attach(self, instance: InstanceId, peripheral: Peripheral) -> None:
        if not is_kept(peripheral.alias):
            message = f"the alias {peripheral.alias!r} would be dropped"
            raise HypervisorRefused(message)
        _check_writable(peripheral)
        guest = self._guest(instance)
        wanted = shown_peripheral(peripheral)
        for place, disks in _layouts(guest):
            _check(place, disks, wanted)
        if guest.running and peripheral.alias not in guest.live_peripherals:
            _lay_ghost(guest, peripheral.alias)
        for place, _disks in _layouts(guest):
            place.setdefault(peripheral.alias, wanted)

    def unplug(self, instance: InstanceId, alias: str) -> None:
        guest = self.world.guests.get(instance)
        if guest is None:
            return
        if guest.doubted:
            _lay_ghost(guest, alias)
        if alias in guest.live_peripherals and guest.busy:
            message = f"the guest keeps {alias}"
            raise GuestBusy(message)
        guest.live_peripherals.pop(alias, None)

    def forget(self, instance: InstanceId, alias: str) -> None:
        guest = self.world.guests.get(instance)
        if guest is not None:
            guest.persistent_peripherals.pop(alias, None)

    def _guest(self, instance: InstanceId) -> FakeGuest:
        try:
            return self.world.guests[instance]
        except KeyError as error:
            message = f"no domain {instance}"
            raise DomainNotFound(message) from error


def _lay_ghost(guest: FakeGuest, alias: str) -> None:
    """Take what the hypervisor denies out of the guest, if there is something."""
    if alias not in guest.peripheral_ghosts:
        return
    if guest.busy:
        message = f"the guest keeps {alias}"
        raise GuestBusy(message)
    guest.peripheral_ghosts.discard(alias)
    guest.doubted = True


def _layouts(guest: FakeGuest) -> list[tuple[dict[str, ShownPeripheral], dict[str, Disk]]]:
    kept = (guest.persistent_peripherals, guest.persistent)
    live = (guest.live_peripherals, guest.live)
    return [*([] if guest.transient else [kept]), *([live] if guest.running else [])]


def _check(
    place: Mapping[str, ShownPeripheral], disks: Mapping[str, Disk], wanted: ShownPeripheral
) -> None:
    there = place.get(wanted.alias or "")
    if wanted.alias in disks or there not in (None, wanted):
        message = f"{wanted.alias} is {there!r}, not {wanted!r}"
        raise HypervisorRefused(message)
    others = [one for one in place.values() if one.alias != wanted.alias]
    taken = [device.address for device in (*others, *disks.values())]
    if wanted.address is not None and wanted.address in taken:
        message = f"{wanted.address} is taken"
        raise HypervisorRefused(message)
    sources = [one.source for one in others if isinstance(one, GuestHostDevice)]
    if isinstance(wanted, GuestHostDevice) and wanted.source in sources:
        message = f"the guest has {wanted.source} already"
        raise HypervisorRefused(message)


def _check_writable(peripheral: Peripheral) -> None:
    target = peripheral.what.target if isinstance(peripheral.what, Interface) else None
    if target is not None and not target.isprintable():
        message = f"no XML holds {target!r}"
        raise HypervisorRefused(message)
