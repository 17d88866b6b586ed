"""Give a device of the host to an instance."""

from dataclasses import dataclass

from worker.handlers.parts.plug_peripheral import plug_in
from worker.model.host_device import parse_host_device
from worker.model.ids import InstanceId
from worker.model.peripheral import Peripheral
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachHostDevice:
    """Operation: give an instance a PCI, USB or mediated device of the host, and nobody else."""

    instance_uuid: InstanceId
    host_device: str


def attach_host_device(request: AttachHostDevice, ports: Ports) -> Peripheral:
    """Make the host device visible in the instance, or leave no trace, its row included."""
    return plug_in(request.instance_uuid, parse_host_device(request.host_device), ports)
