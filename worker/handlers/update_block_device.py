"""Change what is said of a block device, and nothing that its guest sees."""

from dataclasses import dataclass, replace

from worker.errors import DeviceWrongState, NoVolume
from worker.handlers.parts.config_drive import renew_config_drive
from worker.handlers.parts.instance_here import instance_here
from worker.model.block_device import BlockDevice
from worker.model.ids import BlockDeviceId, InstanceId
from worker.model.tags import check_tag
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateBlockDevice:
    """Operation: change what is said of a block device; None leaves it, an empty tag is none."""

    instance_uuid: InstanceId
    bdm_uuid: BlockDeviceId
    delete_on_termination: bool | None = None
    tag: str | None = None


def update_block_device(request: UpdateBlockDevice, ports: Ports) -> BlockDevice:
    """Keep the row with what was given; what tells the guest's user of tags follows.

    An operation, for others of its instance write the whole row. Raises TagTaken, and NoVolume for
    the end of a local disk, which goes with its instance.
    """
    check_tag(request.tag or None)
    instance_here(request.instance_uuid, ports)
    device = _meant(request, ports)
    changed = _changed(request, device)
    if changed != device:
        ports.devices.amend(changed)
    if request.tag is not None:
        renew_config_drive(device.instance, ports)
    return changed


def _meant(request: UpdateBlockDevice, ports: Ports) -> BlockDevice:
    device = ports.devices.get(request.bdm_uuid)
    if device.instance != request.instance_uuid:
        message = f"block device {device.uuid} belongs to instance {device.instance}"
        raise DeviceWrongState(message)
    if device.deleted:
        message = f"block device {device.uuid} was released or removed"
        raise DeviceWrongState(message)
    if device.local and request.delete_on_termination is not None:
        message = f"block device {device.uuid} is a local disk, which goes with its instance"
        raise NoVolume(message)
    return device


def _changed(request: UpdateBlockDevice, device: BlockDevice) -> BlockDevice:
    if request.tag is not None:
        device = replace(device, tag=request.tag or None)
    if request.delete_on_termination is not None:
        device = replace(device, delete_on_termination=request.delete_on_termination)
    return device
