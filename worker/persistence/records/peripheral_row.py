"""A row of ``peripherals``, read."""

from typing import Any, assert_never

from worker.model.block_device import DeviceStatus
from worker.model.host_device import parse_host_device
from worker.model.peripheral import Peripheral, PeripheralKind, Plugged
from worker.model.places.address import parse_address
from worker.model.specification import Interface, InterfaceKind


def peripheral_of(row: Any) -> Peripheral:  # noqa: ANN401 - a row of the table
    """Read a peripheral."""
    return Peripheral(
        uuid=row.uuid,
        instance=row.instance_uuid,
        what=_plugged(row),
        alias=row.alias,
        former=row.former,
        address=None if row.address is None else parse_address(row.address),
        status=DeviceStatus(row.status),
        deleted=row.deleted != 0,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _plugged(row: Any) -> Plugged:  # noqa: ANN401 - a row of the table
    match PeripheralKind(row.kind):
        case PeripheralKind.INTERFACE:
            return Interface(
                port=row.port_id,
                kind=InterfaceKind(row.network),
                mac=row.mac_address,
                target=row.target,
                model=row.model,
            )
        case PeripheralKind.HOST_DEVICE:
            return parse_host_device(row.host_device)
        case kind:
            assert_never(kind)
