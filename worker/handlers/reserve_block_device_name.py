"""Reserve a place for a volume on an instance: name, bus, unit, address, alias and serial."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from worker.errors import (
    AddressTaken,
    Conflict,
    DeviceNameTaken,
    DeviceTypeUnsupported,
    IdTaken,
    TagTaken,
    VolumeAlreadyAttached,
    VolumeInUse,
)
from worker.handlers.parts.instance_here import changeable_instance
from worker.model.block_device import BlockDevice, Bus, DeviceType
from worker.model.guest import Guest
from worker.model.identity.alias import alias_of
from worker.model.identity.serials import serial_for_kind
from worker.model.ids import BlockDeviceId, InstanceId, VolumeId
from worker.model.instance import Instance
from worker.model.places import lun
from worker.model.places.names import parse_bus
from worker.model.places.placement import place
from worker.model.rescue.meanwhile import with_places_taken
from worker.model.tags import check_tag
from worker.model.update import Event, Update
from worker.model.volume import Volume, VolumeStatus
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveBlockDeviceName:
    """Call: choose name, bus, unit and address for a volume, and keep them."""

    instance_uuid: InstanceId
    volume_id: VolumeId
    bdm_uuid: BlockDeviceId | None = None
    device: str | None = None
    disk_bus: str | None = None
    device_type: str | None = None
    tag: str | None = None
    multiattach: bool = False
    delete_on_termination: bool = False


_BUSES = {DeviceType.DISK: Bus.VIRTIO, DeviceType.LUN: lun.BUS}
"""What can be attached, and the bus for whoever names none."""

RACES = 20
"""How many lost races for a place are tried again; each loss means that another one won."""


def reserve_block_device_name(request: ReserveBlockDeviceName, ports: Ports) -> dict[str, Any]:
    """Choose a place free in our rows and in both layouts, and keep it; return the device.

    Asked again with the same ``bdm_uuid``, it returns the same row.
    """
    kind = _kind(request)
    bus = parse_bus(request.disk_bus or _BUSES[kind])
    lun.check_bus(kind, bus)
    check_tag(request.tag)
    instance = changeable_instance(request.instance_uuid, ports)
    instance.check_built()
    device = _earlier(request, ports) or _new(request, bus, instance, ports)
    return device.public()


def _kind(request: ReserveBlockDeviceName) -> DeviceType:
    wanted = request.device_type or DeviceType.DISK
    kind = next((one for one in _BUSES if one == wanted), None)
    if kind is None:
        known = " and ".join(repr(one.value) for one in _BUSES)
        message = f"device type {wanted!r} cannot be attached; only {known} can"
        raise DeviceTypeUnsupported(message)
    return kind


def _earlier(request: ReserveBlockDeviceName, ports: Ports) -> BlockDevice | None:
    if request.bdm_uuid is None:
        return None
    row = ports.devices.look(request.bdm_uuid)
    if row is None:
        return None
    same = (row.instance, row.volume) == (request.instance_uuid, request.volume_id)
    if row.deleted or not same:
        message = f"block device id {row.uuid} was used before; draw another"
        raise IdTaken(message)
    return row


def _check_volume(volume: Volume, request: ReserveBlockDeviceName) -> None:
    if volume.status is VolumeStatus.ERROR:
        message = f"volume {volume.id} is in state {volume.status}"
        raise VolumeInUse(message)
    lun.check_encryption(_kind(request), encrypted=volume.encrypted)
    shared = volume.multiattach and request.multiattach
    if volume.status in (VolumeStatus.IN_USE, VolumeStatus.DETACHING) and not shared:
        message = f"volume {volume.id} is {volume.status}; detach it from its instance first"
        raise VolumeInUse(message)


def _new(
    request: ReserveBlockDeviceName, bus: Bus, instance: Instance, ports: Ports
) -> BlockDevice:
    """Reserve; a conflict may be with the same request, come twice at the same moment."""
    try:
        return _reserve(request, bus, instance, ports)
    except Conflict:
        earlier = _earlier(request, ports)
        if earlier is None:
            raise
        return earlier


def _reserve(
    request: ReserveBlockDeviceName, bus: Bus, instance: Instance, ports: Ports
) -> BlockDevice:
    _check_free(request, ports.devices.of_instance(request.instance_uuid))
    volume = ports.volumes.show(request.volume_id)
    _check_volume(volume, request)
    guest = with_places_taken(ports.guests.describe(instance.uuid), instance.rescue)
    for _ in range(RACES):
        device = _planned(request, bus, volume, guest, ports)
        with suppress(DeviceNameTaken, AddressTaken):
            return _inserted(device, ports)
    return _inserted(_planned(request, bus, volume, guest, ports), ports)


def _planned(
    request: ReserveBlockDeviceName, bus: Bus, volume: Volume, guest: Guest, ports: Ports
) -> BlockDevice:
    rows = ports.devices.of_instance(request.instance_uuid)
    others = ports.peripherals.of_instance(request.instance_uuid)
    spot = place(guest, rows, bus, request.device, ports.max_disk_devices, peripherals=others)
    kind = _kind(request)
    uuid, serial = serial_for_kind(kind, volume.id, request.bdm_uuid, _serials(guest, rows))
    return BlockDevice(
        uuid=uuid,
        instance=request.instance_uuid,
        volume=volume.id,
        device_name=spot.device_name,
        bus=bus,
        device_type=kind,
        alias=_first_free(alias_of(volume.id), alias_of(uuid), _aliases(guest, rows)),
        serial=serial,
        address=spot.address,
        unit=spot.unit,
        volume_size=volume.size_gib,
        volume_type=volume.volume_type,
        tag=request.tag,
        multiattach=request.multiattach,
        encrypted=volume.encrypted,
        delete_on_termination=request.delete_on_termination,
    )


def _inserted(device: BlockDevice, ports: Ports) -> BlockDevice:
    told = Update(event=Event.RESERVED, instance=device.instance, block_device=device)
    ports.devices.insert(device, told)
    return device


def _check_free(request: ReserveBlockDeviceName, rows: tuple[BlockDevice, ...]) -> None:
    for row in rows:
        if request.tag is not None and row.tag == request.tag:
            message = f"tag {row.tag!r} is that of {row.device_name} on this instance"
            raise TagTaken(message)
        if request.volume_id in (row.volume, None if row.swap is None else row.swap.volume):
            message = (
                f"volume {request.volume_id} is on this instance already, as {row.device_name}"
            )
            raise VolumeAlreadyAttached(message)


def _first_free(wanted: str, otherwise: str, taken: frozenset[str]) -> str:
    """An old volume's alias or serial stays with its disk after a swap, so it may be taken."""
    return otherwise if wanted in taken else wanted


def _aliases(guest: Guest, rows: tuple[BlockDevice, ...]) -> frozenset[str]:
    return guest.aliases | {row.alias for row in rows}


def _serials(guest: Guest, rows: tuple[BlockDevice, ...]) -> set[str]:
    shown = {disk.serial for layout in guest.layouts for disk in layout.disks if disk.serial}
    return shown | {row.serial for row in rows if row.serial}
