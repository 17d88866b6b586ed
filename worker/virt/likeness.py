"""Whether a device that libvirt shows is the one that was asked for."""

from typing import assert_never

from worker.model.disk import Disk
from worker.model.guest import GuestDevice, GuestDisk, GuestHostDevice, GuestInterface
from worker.model.host_device import HostDevice
from worker.model.peripheral import Peripheral
from worker.model.specification import Interface
from worker.virt.xml.interface import KINDS

_Pair = tuple[str, str | None, str | None]


def differences(shown: GuestDisk, disk: Disk) -> list[str]:
    """Return in words what is otherwise than asked for; nothing if it is that disk."""
    pairs: list[_Pair] = [
        ("target", shown.target, disk.target),
        ("serial", shown.serial, disk.given_serial),
        ("bus", shown.bus, disk.bus.value),
        ("device type", shown.device, disk.device_type.value),
        ("source", shown.source, disk.source.name),
    ]
    if disk.address is not None:
        pairs.append(("address", str(shown.address), str(disk.address)))
    return _unequal(pairs)


def peripheral_differences(shown: GuestDevice, peripheral: Peripheral) -> list[str]:
    """Return in words what is otherwise than asked for; nothing if it is that peripheral."""
    address = peripheral.address
    place: list[_Pair] = [("address", str(shown.address), str(address))] if address else []
    match peripheral.what:
        case Interface() as interface if isinstance(shown, GuestInterface):
            return _unequal([*_of_interface(shown, interface), *place])
        case HostDevice() as device if isinstance(shown, GuestHostDevice):
            return _unequal([("source", str(shown.source), str(device)), *place])
        case Interface() | HostDevice():
            return [f"{shown} in its stead"]
        case _:
            assert_never(peripheral.what)


def _of_interface(shown: GuestInterface, interface: Interface) -> list[_Pair]:
    joined = [] if interface.target is None else [("target", shown.target, interface.target)]
    return [
        ("mac", shown.mac, interface.mac.lower()),
        ("type", shown.kind, KINDS[interface.kind]),
        ("model", shown.model, interface.model),
        *joined,
    ]


def _unequal(pairs: list[_Pair]) -> list[str]:
    return [f"{name} {has}, not {wanted}" for name, has, wanted in pairs if has != wanted]
