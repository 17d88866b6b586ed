"""Take a network interface out of its instance."""

from dataclasses import dataclass

from worker.handlers.parts.unplug_peripheral import live_row, meant_row, plug_out
from worker.model.ids import InstanceId, PeripheralId, PortId
from worker.model.peripheral import Peripheral
from worker.model.specification import Interface
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachInterface:
    """Operation: take an interface out, named by its port or, where it has none, by its row."""

    instance_uuid: InstanceId
    port_id: PortId | None = None
    peripheral_uuid: PeripheralId | None = None


def name_the_interface(request: DetachInterface, ports: Ports) -> PeripheralId | None:
    """Return the row that the request means: the one it names, or the one that is live now."""
    if request.peripheral_uuid is not None or request.port_id is None:
        return request.peripheral_uuid
    return live_row(request.instance_uuid, lambda row: _fits(row, request), ports)


def detach_interface(request: DetachInterface, ports: Ports) -> Peripheral:
    """Make the guest let go of the interface, then remove its row."""
    instance, uuid = request.instance_uuid, request.peripheral_uuid
    return plug_out(meant_row(instance, uuid, lambda row: _fits(row, request), ports), ports)


def _fits(row: Peripheral, request: DetachInterface) -> bool:
    """Tell whether it is what the request names; without a port the row alone names it."""
    if not isinstance(row.what, Interface):
        return False
    if request.port_id is None:
        return row.uuid == request.peripheral_uuid
    return row.what.port == request.port_id
