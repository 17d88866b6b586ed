"""Where on a guest's buses a disk sits, and which place is free.

The forms are those of libvirt's ``<address>`` element (formatdomain.html, "Device addresses").
The text form (``pci:0000:05:00.0``) is what the row keeps and what a unique constraint compares.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PciAddress:
    """A PCI address; a disk on virtio has one."""

    domain: int = 0
    bus: int
    slot: int
    function: int = 0

    def __str__(self) -> str:
        """Write the address as ``lspci -D`` does, with its kind in front."""
        return f"pci:{self.domain:04x}:{self.bus:02x}:{self.slot:02x}.{self.function:x}"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class DriveAddress:
    """A place on a scsi, sata, ide or fdc controller; ``kind`` is that bus."""

    kind: str
    controller: int = 0
    bus: int = 0
    target: int = 0
    unit: int

    def __str__(self) -> str:
        """Write kind, controller, bus, target and unit, in decimal."""
        return f"{self.kind}:{self.controller}:{self.bus}:{self.target}:{self.unit}"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class UsbAddress:
    """A port of a USB controller; ``bus`` is the controller's index."""

    bus: int = 0
    port: int

    def __str__(self) -> str:
        """Write bus and port, in decimal."""
        return f"usb:{self.bus}:{self.port}"


Address = PciAddress | DriveAddress | UsbAddress


def parse_address(text: str) -> Address:
    """Read the text form back; raises ValueError for anything else."""
    kind, *parts = text.split(":")
    match kind, parts:
        case "pci", [domain, bus, rest]:
            slot, function = rest.split(".")
            return PciAddress(
                domain=int(domain, 16),
                bus=int(bus, 16),
                slot=int(slot, 16),
                function=int(function, 16),
            )
        case "usb", [bus, port]:
            return UsbAddress(bus=int(bus), port=int(port))
        case (("scsi" | "sata" | "ide" | "fdc"), [controller, bus, target, unit]):
            return DriveAddress(
                kind=kind,
                controller=int(controller),
                bus=int(bus),
                target=int(target),
                unit=int(unit),
            )
        case _:
            message = f"no address: {text!r}"
            raise ValueError(message)


def place_of(address: Address) -> Address:
    """Return what an address occupies: functions of one PCI slot occupy the same."""
    match address:
        case PciAddress():
            return replace(address, function=0)
        case _:
            return address


def first_free(places: Iterable[Address], taken: Iterable[Address]) -> Address | None:
    """Return the first of the places that collides with none of the taken, or None."""
    occupied = {place_of(address) for address in taken}
    return next((place for place in places if place_of(place) not in occupied), None)
