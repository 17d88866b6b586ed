"""Which row an operation is about."""

from worker.model.ids import BlockDeviceId, PeripheralId
from worker.model.operation import Operation
from worker.model.peripheral import DeviceRow
from worker.ports import Ports


def row_of(operation: Operation, ports: Ports) -> DeviceRow | None:
    """Return the row as it is, or was; an operation may name one that never existed."""
    uuid = operation.block_device
    if uuid is None:
        return None
    return ports.devices.look(BlockDeviceId(uuid)) or ports.peripherals.look(PeripheralId(uuid))
