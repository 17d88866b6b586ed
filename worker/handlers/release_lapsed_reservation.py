"""Give a reservation back that nobody came for."""

from dataclasses import dataclass

from worker.model.block_device import DeviceStatus
from worker.model.ids import BlockDeviceId, InstanceId
from worker.model.update import Event, Update
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseLapsedReservation:
    """The worker's own operation: a reservation is older than ``reservation_ttl``."""

    instance_uuid: InstanceId
    bdm_uuid: BlockDeviceId


def release_lapsed_reservation(request: ReleaseLapsedReservation, ports: Ports) -> None:
    """Release the row and tell it, unless an attach that was accepted before has come for it."""
    device = ports.devices.look(request.bdm_uuid)
    if device is None or device.deleted or device.status is not DeviceStatus.RESERVED:
        return
    update = Update(event=Event.RELEASED, instance=device.instance, block_device=device)
    ports.devices.release(device, update)
