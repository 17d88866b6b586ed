"""What a rescue image's properties decide: the mode, the device, the bus.

``hw_rescue_device`` and ``hw_rescue_bus`` are the seed's; which image the rest comes from is
docs/adr/0026.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from worker.errors import DeviceTypeUnsupported, NotRescuable
from worker.model.block_device import Bus, DeviceType
from worker.model.image import Image
from worker.model.places.fits import FITS, Family, check_fits, family_of
from worker.model.places.names import parse_bus
from worker.model.rescue.words import Mode

RESCUE_BUS = "hw_rescue_bus"
RESCUE_DEVICE = "hw_rescue_device"

_WHOLE_INSTANCE = ("img_block_device_mapping", "block_device_mapping")
"""What Nova leaves on the image of an instance that boots from a volume: it has no content."""

_NO_VOLUMES = frozenset({"", "[]"})

_CDROM_BUS = {Family.PC: Bus.IDE, Family.Q35: Bus.SATA, Family.OTHER: Bus.SCSI}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is asked of the rescue disk."""

    mode: Mode
    device_type: DeviceType
    bus: Bus


def mode_of(image: Image) -> Mode:
    """Return stable where the image has one of the two properties, legacy where it has neither."""
    asked = {RESCUE_DEVICE, RESCUE_BUS} & image.properties.keys()
    return Mode.STABLE if asked else Mode.LEGACY


def check_content(image: Image) -> None:
    """Raise NotRescuable for an image that holds no disk."""
    if any(image.properties.get(name, "") not in _NO_VOLUMES for name in _WHOLE_INSTANCE):
        message = f"image {image.id} names volumes and holds no disk of its own"
        raise NotRescuable(message)


def chosen(image: Image, own: Mapping[str, str], machine: str) -> Choice:
    """Decide by the rescue image, then by the instance's ``own`` properties, then the machine.

    Raises BusUnsupported or DeviceTypeUnsupported for a value that does not exist or a pair that
    the machine does not have.
    """
    device, bus = image.properties.get(RESCUE_DEVICE), image.properties.get(RESCUE_BUS)
    kind = DeviceType.DISK if device is None else _device(device)
    found = _default_bus(kind, (image.properties, own), machine) if bus is None else parse_bus(bus)
    check_fits(kind, found, machine)
    return Choice(mode=mode_of(image), device_type=kind, bus=found)


def _device(text: str) -> DeviceType:
    known = sorted(FITS)
    if text not in known:
        message = f"{RESCUE_DEVICE} {text!r} is none of {', '.join(known)}"
        raise DeviceTypeUnsupported(message)
    return DeviceType(text)


def _default_bus(kind: DeviceType, properties: tuple[Mapping[str, str], ...], machine: str) -> Bus:
    name = f"hw_{kind}_bus"
    named = next((each[name] for each in properties if name in each), None)
    if named is not None:
        return parse_bus(named)
    match kind:
        case DeviceType.CDROM:
            return _CDROM_BUS[family_of(machine)]
        case DeviceType.FLOPPY:
            return Bus.FDC
        case _:
            return Bus.VIRTIO
