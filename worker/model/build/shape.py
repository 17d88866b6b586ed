"""The machine of a new instance: what its image and its request make of the defaults."""

import re
from collections.abc import Iterable, Mapping

from worker.errors import DeviceTypeUnsupported
from worker.model.block_device import Bus, DeviceType
from worker.model.build.checks import refuse
from worker.model.build.wanted import Wanted, WantedDisk
from worker.model.image import Image
from worker.model.places.fits import FITS
from worker.model.places.names import parse_bus
from worker.model.specification import Firmware, Shape

HONOURED = (
    "hw_cdrom_bus",
    "hw_disk_bus",
    "hw_disk_discard",
    "hw_firmware_type",
    "hw_floppy_bus",
    "hw_machine_type",
    "hw_scsi_model",
    "hw_vif_model",
    "img_config_drive",
    "kernel_id",
    "os_command_line",
    "ramdisk_id",
)
"""The properties of the root's image that decide something; docs/instances.md says what."""

_MACHINE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DISCARD = ("unmap", "ignore")


def honoured(image: Image | None) -> dict[str, str]:
    """Return those of the image's properties that decide something, as they are now."""
    known = {} if image is None else image.properties
    return {name: known[name] for name in HONOURED if name in known}


def shape_of(wanted: Wanted, properties: Mapping[str, str], disks: Iterable[WantedDisk]) -> Shape:
    """Return the machine; a floppy controller is in it only where a floppy is wanted."""
    default = Shape()
    machine = wanted.machine_type or properties.get("hw_machine_type", default.machine_type)
    model = properties.get("hw_scsi_model", default.scsi_model or "")
    for name, text in (("machine type", machine), ("hw_scsi_model", model)):
        if _MACHINE.fullmatch(text) is None:
            raise refuse(f"{name} {text!r} is malformed")
    floppy = any(disk.device_type == DeviceType.FLOPPY for disk in disks)
    return Shape(machine_type=machine, scsi_model=model, floppy=floppy)


def firmware_of(wanted: Wanted, properties: Mapping[str, str]) -> Firmware:
    """Return what the guest is started by."""
    text = wanted.firmware or properties.get("hw_firmware_type", Firmware.BIOS)
    if text not in set(Firmware):
        raise refuse(f"firmware {text!r} is none of {', '.join(Firmware)}")
    return Firmware(text)


def discard_of(properties: Mapping[str, str]) -> str | None:
    """Return what becomes of what the guest discards on its local disks."""
    text = properties.get("hw_disk_discard")
    if text is not None and text not in _DISCARD:
        raise refuse(f"hw_disk_discard {text!r} is none of {', '.join(_DISCARD)}")
    return text


def bus_of(disk: WantedDisk, kind: DeviceType, properties: Mapping[str, str], shape: Shape) -> Bus:
    """Return the bus that is asked for, or else the one for such a device.

    Raises BusUnsupported for one that does not exist, DeviceTypeUnsupported where the two do not go
    together. Whether the machine has the bus shows when a place on it is looked for.
    """
    bus = parse_bus(disk.disk_bus) if disk.disk_bus else default_bus(kind, properties, shape)
    if bus not in FITS.get(kind, {}):
        message = f"a {kind} cannot be on bus {bus}"
        raise DeviceTypeUnsupported(message)
    return bus


def default_bus(kind: DeviceType, properties: Mapping[str, str], shape: Shape) -> Bus:
    """Return the image's bus for such a device (``hw_cdrom_bus``), or the machine's own."""
    named = properties.get(f"hw_{kind}_bus")
    if named is not None:
        return parse_bus(named)
    if kind is DeviceType.CDROM:
        return Bus.SATA if shape.pcie else Bus.IDE
    return Bus.FDC if kind is DeviceType.FLOPPY else Bus.VIRTIO
