"""The disks of an instance."""

from typing import Any

from worker.model.requests import ListBlockDevices
from worker.ports import Ports


def list_block_devices(request: ListBlockDevices, ports: Ports) -> list[dict[str, Any]]:
    """Return the live block devices of the instance, by device name."""
    instance = ports.instances.get(request.instance_uuid)
    return [device.public() for device in ports.devices.of_instance(instance.uuid)]
