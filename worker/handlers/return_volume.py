"""Give a guest a volume back that was missing when it started."""

from dataclasses import dataclass

from worker.handlers.parts.config_drive import renew_after
from worker.handlers.parts.find_device import take_back
from worker.handlers.parts.reach_volume import Ways, let_go, reach
from worker.handlers.parts.restore_disks import keep_attached, plug
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.guest import Guest
from worker.model.ids import BlockDeviceId, InstanceId
from worker.model.instance import VmState
from worker.model.places.placement import HOT_PLUGGED
from worker.ports import Ports
from worker.undo import Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnVolume:
    """The worker's own operation: see whether a missing volume is back."""

    instance_uuid: InstanceId
    bdm_uuid: BlockDeviceId


SETTLED = (VmState.ACTIVE, VmState.PAUSED, VmState.STOPPED)
"""States in which the guest's layouts are what its rows say."""


def return_volume(request: ReturnVolume, ports: Ports) -> BlockDevice | None:
    """Attach the volume under its old name and address, and tell it; or leave it missing.

    One that another operation has seen to since is left alone; one on a bus that takes no disk
    while the guest runs waits for its next start.
    """
    device = ports.devices.look(request.bdm_uuid)
    if device is None or device.deleted or device.status is not DeviceStatus.MISSING:
        return device
    with Undo(ports.progress) as undo:
        undo.earlier("connector.connect", let_go, device, ports)
        undo.earlier("disks.attach", take_back, device, ports)
        guest = ports.guests.describe(device.instance)
        if not (_may_have_it(device, guest, ports) or ports.progress.reached("connector.connect")):
            return device

        undo.by(let_go, device, ports)
        device, volume = reach(device, Ways(ports).to(device), ports)

        undo.by(take_back, device, ports)
        plug(device, volume, guest, ports)
        undo.commit_point()
        device = keep_attached(device, ports)
        renew_after(device, ports)
        return device


def _may_have_it(device: BlockDevice, guest: Guest, ports: Ports) -> bool:
    state = ports.instances.get(device.instance).vm_state
    return state in SETTLED and (guest.live is None or device.bus in HOT_PLUGGED)
