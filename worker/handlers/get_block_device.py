"""The disk that a volume is on an instance."""

from dataclasses import dataclass
from typing import Any

from worker.errors import BlockDeviceNotFound
from worker.model.ids import InstanceId, VolumeId
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class GetBlockDevice:
    """Call: the live block device of a volume on an instance."""

    instance_uuid: InstanceId
    volume_id: VolumeId


def get_block_device(request: GetBlockDevice, ports: Ports) -> dict[str, Any]:
    """Return the live block device of the volume on the instance."""
    instance = ports.instances.get(request.instance_uuid)
    for device in ports.devices.of_instance(instance.uuid):
        if device.volume == request.volume_id:
            return device.public()
    message = f"volume {request.volume_id} is not on instance {instance.uuid}"
    raise BlockDeviceNotFound(message)
