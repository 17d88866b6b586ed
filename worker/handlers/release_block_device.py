"""Give a reservation back."""

from dataclasses import dataclass
from typing import Any

from worker.errors import DeviceWrongState
from worker.model.block_device import DeviceStatus
from worker.model.ids import BlockDeviceId
from worker.model.update import Event, Update
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseBlockDevice:
    """Call: give a reservation back."""

    bdm_uuid: BlockDeviceId


def release_block_device(request: ReleaseBlockDevice, ports: Ports) -> dict[str, Any]:
    """Delete the row if it is still only reserved; one that is gone is fine.

    Raises InstanceNotFound for another host's, and NoVolume for a local disk, which goes with its
    instance.
    """
    device = ports.devices.get(request.bdm_uuid)
    if device.deleted:
        return device.public()
    ports.instances.get(device.instance)
    if device.status is not DeviceStatus.RESERVED:
        volume = device.its_volume
        message = f"block device {device.uuid} is {device.status}; detach volume {volume} instead"
        raise DeviceWrongState(message)
    ports.devices.release(
        device, Update(event=Event.RELEASED, instance=device.instance, block_device=device)
    )
    return device.public()
