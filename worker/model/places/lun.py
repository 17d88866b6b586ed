"""Which volume can be passed through to a guest as a SCSI LUN, and where it goes.

The guest speaks to the storage's own device: its commands need a device or a target that takes SCSI
commands, and nothing in between that would have to understand them.
"""

from typing import assert_never

from worker.errors import DeviceTypeUnsupported
from worker.model.block_device import Bus, DeviceType
from worker.model.source import BlockSource, DiskSource, FileSource, IscsiSource, RbdSource

BUS = Bus.SCSI
_ENCRYPTED = "an encrypted volume cannot be passed through: the guest would see what is encrypted"


def check_bus(kind: DeviceType, bus: Bus) -> None:
    """Raise DeviceTypeUnsupported for a LUN on another bus than scsi."""
    if kind is DeviceType.LUN and bus is not BUS:
        message = f"device type {kind.value!r} goes on bus {BUS}, not on {bus}"
        raise DeviceTypeUnsupported(message)


def check_encryption(kind: DeviceType, *, encrypted: bool) -> None:
    """Raise DeviceTypeUnsupported for a LUN of an encrypted volume."""
    if kind is DeviceType.LUN and encrypted:
        raise DeviceTypeUnsupported(_ENCRYPTED)


def check_source(kind: DeviceType, source: DiskSource) -> None:
    """Raise DeviceTypeUnsupported for a LUN of what takes no SCSI commands."""
    if kind is not DeviceType.LUN:
        return
    match source:
        case BlockSource() | IscsiSource():
            return
        case FileSource():
            message = (
                f"{source.name} is a file ({source.format}), no device that takes SCSI commands:"
                f" attach it as device type {DeviceType.DISK.value!r}"
            )
            raise DeviceTypeUnsupported(message)
        case RbdSource():
            message = (
                f"{source.name} is an image of Ceph, which takes no SCSI commands: attach it as"
                f" device type {DeviceType.DISK.value!r}"
            )
            raise DeviceTypeUnsupported(message)
        case _:
            assert_never(source)
