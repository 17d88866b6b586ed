"""A row of ``block_device_mapping``, written and read."""

from typing import Any

from worker.model.block_device import BlockDevice, Bus, DeviceStatus, DeviceType, SourceType
from worker.model.places.address import parse_address
from worker.persistence.records.connection_json import (
    connection_of,
    json_of,
    json_of_swap,
    swap_of,
)


def row_values(device: BlockDevice) -> dict[str, Any]:
    """Return the columns of a live row, but for its times."""
    return _identity(device) | changing_values(device)


def _identity(device: BlockDevice) -> dict[str, Any]:
    return {
        "uuid": device.uuid,
        "instance_uuid": device.instance,
        "source_type": device.source_type.value,
        "destination_type": "local" if device.local else "volume",
        "image_id": device.image,
        "guest_format": device.guest_format,
        "no_device": False,
        "deleted": 0,
    }


def changing_values(device: BlockDevice) -> dict[str, Any]:
    """Return the columns of a live row that may change while it lives."""
    connection = device.connection
    return {
        "volume_id": device.volume,
        "device_name": device.device_name,
        "disk_bus": device.bus.value,
        "device_type": device.device_type.value,
        "alias": device.alias,
        "serial": device.serial,
        "address": None if device.address is None else str(device.address),
        "unit": device.unit,
        "status": device.status.value,
        "attachment_id": device.attachment,
        "connection_info": None if connection is None else json_of(connection),
        "swap": None if device.swap is None else json_of_swap(device.swap),
        "volume_size": device.volume_size,
        "volume_type": device.volume_type,
        "boot_index": device.boot_index,
        "tag": device.tag,
        "multiattach": device.multiattach,
        "encrypted": device.encrypted,
        "wwid": device.wwid,
        "delete_on_termination": device.delete_on_termination,
    }


def device_of(row: Any) -> BlockDevice:  # noqa: ANN401 - a row of the table
    """Read a block device."""
    return BlockDevice(
        uuid=row.uuid,
        instance=row.instance_uuid,
        volume=row.volume_id,
        device_name=row.device_name,
        bus=Bus(row.disk_bus),
        device_type=DeviceType(row.device_type),
        alias=row.alias,
        serial=row.serial,
        address=None if row.address is None else parse_address(row.address),
        unit=row.unit,
        status=DeviceStatus(row.status),
        attachment=row.attachment_id,
        connection=None if row.connection_info is None else connection_of(row.connection_info),
        swap=None if row.swap is None else swap_of(row.swap),
        source_type=SourceType(row.source_type or SourceType.VOLUME),
        image=row.image_id,
        guest_format=row.guest_format,
        volume_size=row.volume_size,
        volume_type=row.volume_type,
        boot_index=row.boot_index,
        tag=row.tag,
        multiattach=row.multiattach,
        encrypted=row.encrypted,
        wwid=row.wwid,
        delete_on_termination=bool(row.delete_on_termination),
        deleted=row.deleted != 0,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
