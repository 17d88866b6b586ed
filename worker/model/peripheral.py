"""The row of what is attached to a guest and is no disk: an interface or a host device."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import assert_never
from uuid import UUID, uuid5

from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.host_device import HostDevice
from worker.model.ids import InstanceId, OperationId, PeripheralId
from worker.model.places.address import Address
from worker.model.specification import Interface

Plugged = Interface | HostDevice
"""What a peripheral is; a new kind is added here, and ``assert_never`` shows the rest."""


class PeripheralKind(StrEnum):
    """What a row stands for."""

    INTERFACE = "interface"
    HOST_DEVICE = "host_device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peripheral:
    """One row of ``peripherals``.

    Its alias is ``ua-<port id>`` for an interface whose port is known, else ``ua-<row uuid>``;
    ``former`` is what it was before it got that. It is never only reserved: the operation that
    attaches it makes the row.
    """

    uuid: PeripheralId
    instance: InstanceId
    what: Plugged
    alias: str
    former: str | None = None
    address: Address | None
    status: DeviceStatus = DeviceStatus.ATTACHING
    deleted: bool = False
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def kind(self) -> PeripheralKind:
        """What it stands for."""
        match self.what:
            case Interface():
                return PeripheralKind.INTERFACE
            case HostDevice():
                return PeripheralKind.HOST_DEVICE
            case _:
                assert_never(self.what)

    def public(self) -> Mapping[str, str | None]:
        """Return the fields that may leave the worker."""
        shared = {
            "uuid": self.uuid,
            "instance_uuid": self.instance,
            "kind": self.kind.value,
            "alias": self.alias,
            "address": None if self.address is None else str(self.address),
            "status": self.status.value,
        }
        match self.what:
            case Interface() as interface:
                return shared | {
                    "port_id": interface.port,
                    "mac_address": interface.mac,
                    "network": interface.kind.value,
                    "target": interface.target,
                    "model": interface.model,
                }
            case HostDevice() as device:
                return shared | {"host_device": str(device)}
            case _:
                assert_never(self.what)


DeviceRow = BlockDevice | Peripheral
"""The row of one device of a guest, of whatever kind."""


def row_made_by(operation: OperationId) -> PeripheralId:
    """Return the id of the row that the operation makes; a run after a crash finds it by that."""
    return PeripheralId(str(uuid5(UUID(operation), "peripheral")))
