"""The disks of an instance."""

from dataclasses import dataclass
from typing import Any

from worker.model.ids import InstanceId
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class ListBlockDevices:
    """Call: the live block devices of an instance."""

    instance_uuid: InstanceId


def list_block_devices(request: ListBlockDevices, ports: Ports) -> list[dict[str, Any]]:
    """Return the live block devices of the instance, by device name."""
    instance = ports.instances.get(request.instance_uuid)
    return [device.public() for device in ports.devices.of_instance(instance.uuid)]
