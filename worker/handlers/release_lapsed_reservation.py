"""Give a reservation back that nobody came for."""

from dataclasses import dataclass

from worker.handlers.parts.give_back import drop_unused, released
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.ids import BlockDeviceId, InstanceId
from worker.ports import Ports
from worker.undo import Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseLapsedReservation:
    """The worker's own operation: a reservation is older than ``reservation_ttl``."""

    instance_uuid: InstanceId
    bdm_uuid: BlockDeviceId


def release_lapsed_reservation(request: ReleaseLapsedReservation, ports: Ports) -> None:
    """Release the row and tell it, unless an attach that was accepted before has come for it.

    An attachment that waits for the attach goes too: who made it has died, or forgotten it. Past
    its commit point, which is the release, that is all that is left to do.
    """
    device = ports.devices.look(request.bdm_uuid)
    if device is None or not (_is_reserved(device) or ports.progress.past_commit_point):
        return
    with Undo(ports.progress) as undo:
        # Looked for before the row goes: a service that is away leaves both for the next time.
        held = ports.attachments.find(device.its_volume, device.instance)
        if not ports.progress.past_commit_point:
            # In one transaction with the release, so that a later run knows whose it was.
            undo.commit_point()
            if not released(device, ports):
                return
        if held is not None:
            drop_unused(held, ports)


def _is_reserved(device: BlockDevice) -> bool:
    return not device.deleted and device.status is DeviceStatus.RESERVED
