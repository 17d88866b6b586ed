"""Take a device of the host back from an instance."""

from dataclasses import dataclass

from worker.handlers.parts.unplug_peripheral import live_row, meant_row, plug_out
from worker.model.host_device import HostDevice
from worker.model.ids import InstanceId, PeripheralId
from worker.model.peripheral import Peripheral
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachHostDevice:
    """Operation: take a host device out, named as it was attached or by its row."""

    instance_uuid: InstanceId
    host_device: str | None = None
    peripheral_uuid: PeripheralId | None = None


def name_the_host_device(request: DetachHostDevice, ports: Ports) -> PeripheralId | None:
    """Return the row that the request means: the one it names, or the one that is live now."""
    if request.peripheral_uuid is not None or request.host_device is None:
        return request.peripheral_uuid
    return live_row(request.instance_uuid, lambda row: _fits(row, request), ports)


def detach_host_device(request: DetachHostDevice, ports: Ports) -> Peripheral:
    """Make the guest let go of the host device, then remove its row."""
    instance, uuid = request.instance_uuid, request.peripheral_uuid
    return plug_out(meant_row(instance, uuid, lambda row: _fits(row, request), ports), ports)


def _fits(row: Peripheral, request: DetachHostDevice) -> bool:
    """Tell whether it is what the request names."""
    if not isinstance(row.what, HostDevice):
        return False
    if request.host_device is None:
        return row.uuid == request.peripheral_uuid
    return str(row.what) == request.host_device
