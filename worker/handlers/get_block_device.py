"""The disk that a volume is on an instance."""

from typing import Any

from worker.errors import BlockDeviceNotFound
from worker.model.requests import GetBlockDevice
from worker.ports import Ports


def get_block_device(request: GetBlockDevice, ports: Ports) -> dict[str, Any]:
    """Return the live block device of the volume on the instance."""
    instance = ports.instances.get(request.instance_uuid)
    for device in ports.devices.of_instance(instance.uuid):
        if device.volume == request.volume_id:
            return device.public()
    message = f"volume {request.volume_id} is not on instance {instance.uuid}"
    raise BlockDeviceNotFound(message)
