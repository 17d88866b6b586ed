"""The rows of a guest's interfaces and host devices: of one that we built, and of other hands."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from worker.model.block_device import DeviceStatus
from worker.model.guest import GuestDevice, GuestHostDevice, GuestInterface, Layout
from worker.model.host_device import HostDevice
from worker.model.identity.alias import PREFIX, alias_of
from worker.model.ids import InstanceId, PeripheralId
from worker.model.moving.peripheral_origin import host_device_at
from worker.model.peripheral import Peripheral, Plugged
from worker.model.places.controllers import interface_addresses
from worker.model.specification import Interface, InterfaceKind, Specification

Draw = Callable[[str], PeripheralId]
"""Given what tells a device from others of its guest, return the id of its row."""

KINDS: Mapping[str, InterfaceKind] = {
    "bridge": InterfaceKind.BRIDGE,
    "ethernet": InterfaceKind.TAP,
    "user": InterfaceKind.USER,
}
"""The kinds of interfaces that we make, by libvirt's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The rows that there can be; ``left_out`` says of a device why it becomes none."""

    rows: tuple[Peripheral, ...]
    left_out: Mapping[str, str]


def rows_of_specification(
    instance: InstanceId, specification: Specification, draw: Draw
) -> tuple[Peripheral, ...]:
    """Return the rows of the interfaces that an instance is built with, at their addresses.

    ``draw`` is given the port. Raises NoFreePort.
    """
    places = interface_addresses(specification.shape, len(specification.interfaces))
    named = ((draw(str(one.port)), one) for one in specification.interfaces)
    return tuple(
        Peripheral(
            uuid=uuid,
            instance=instance,
            what=interface,
            alias=alias_of(interface.port or uuid),
            address=place,
            status=DeviceStatus.ATTACHED,
        )
        for (uuid, interface), place in zip(named, places, strict=True)
    )


def rows_of_layout(
    instance: InstanceId,
    layout: Layout | None,
    draw: Draw,
    having: Mapping[HostDevice, InstanceId] = MappingProxyType({}),
) -> Taken:
    """Return the rows of what a guest of other hands has; the ports of its interfaces are unknown.

    ``draw`` is given the device as it is said for people; ``having`` says of a host device which
    instance has it.
    """
    rows: list[Peripheral] = []
    left_out: dict[str, str] = {}
    devices: list[GuestInterface | GuestHostDevice] = []
    devices += [] if layout is None else [*layout.interfaces, *layout.host_devices]
    whats = [_what(device) for device in devices]
    for device, what in zip(devices, whats, strict=True):
        name = _name(device)
        if isinstance(what, str):
            left_out[name] = what
        elif isinstance(what, HostDevice) and whats.count(what) > 1:
            left_out[name] = "another host device of the guest is named alike"
        elif isinstance(what, HostDevice) and what in having:
            left_out[name] = f"instance {having[what]} has it"
        elif device.address is None:
            left_out[name] = "its address is of a form that is unknown here"
        else:
            rows.append(_row(instance, device, what, draw(name)))
    return Taken(rows=tuple(rows), left_out=left_out)


def _row(
    instance: InstanceId, device: GuestDevice, what: Plugged, uuid: PeripheralId
) -> Peripheral:
    """Only an alias of our form outlasts the guest, and has to be given back one day."""
    kept = device.alias is not None and device.alias.startswith(PREFIX)
    return Peripheral(
        uuid=uuid,
        instance=instance,
        what=what,
        alias=alias_of(uuid),
        former=device.alias if kept else None,
        address=device.address,
        status=DeviceStatus.ATTACHED,
    )


def _what(device: GuestInterface | GuestHostDevice) -> Plugged | str:
    """Return what the device is, or why there can be no row of it."""
    if isinstance(device, GuestHostDevice):
        return device.source or "a host device of this kind is unknown here"
    return Interface(
        port=None,
        kind=KINDS.get(device.kind, InterfaceKind.OTHER),
        mac=device.mac,
        target=device.target,
        model=device.model or "virtio",
    )


def _name(device: GuestInterface | GuestHostDevice) -> str:
    if isinstance(device, GuestInterface):
        return f"interface {device.mac} at {device.address}"
    return host_device_at(device.source, device.address)
