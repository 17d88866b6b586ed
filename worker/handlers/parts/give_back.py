"""What a reservation that comes to nothing leaves: its row, and the attachment that waits for it.

Nothing of an attach that has begun is given back: the row is taken by a compare-and-swap from
``reserved`` alone, and an attachment only while it was never connected and no row is live that it
could be for. Why an attachment of other hands' making is ours: docs/adr/0038.
"""

from collections.abc import Callable
from typing import TypeVar

from worker.errors import (
    AttachmentMismatch,
    AttachmentNotFound,
    BlockDeviceNotFound,
    DeviceWrongState,
    InstanceNotFound,
    InstanceWrongState,
)
from worker.handlers.parts.attachment_of import checked
from worker.handlers.parts.instance_here import instance_here
from worker.model.block_device import BlockDevice
from worker.model.ids import AttachmentId, BlockDeviceId, InstanceId
from worker.model.update import Event, Update
from worker.model.volume import Attachment, AttachmentStatus
from worker.ports import Ports
from worker.undo import Undo

RequestT = TypeVar("RequestT")
BegunT = TypeVar("BegunT")


def or_given_back(
    begin: Callable[[RequestT, Ports], BegunT],
    refused: Callable[[RequestT, Ports], None],
    request: RequestT,
    ports: Ports,
) -> BegunT:
    """Return what ``begin`` does; if it may not begin, nothing is left of what came along."""
    with Undo(ports.progress) as undo:
        undo.by(refused, request, ports)
        return begin(request, ports)


def give_back(
    uuid: BlockDeviceId, instance: InstanceId, named: AttachmentId | None, ports: Ports
) -> None:
    """Give back what an attach was to use that does not begin; done before, there is nothing to do.

    One that was sent to the wrong host, or while its instance moves to another, or that names
    another instance's row, leaves the row alone.
    """
    device = ports.devices.look(uuid)
    if device is None or device.local or device.instance != instance:
        return
    if not device.deleted and not (_is_here(instance, ports) and released(device, ports)):
        return
    if named is None:
        return
    try:
        held = checked(named, device.its_volume, instance, ports)
    except (AttachmentMismatch, AttachmentNotFound):
        return
    drop_unused(held, ports)


def released(device: BlockDevice, ports: Ports) -> bool:
    """Remove the row and tell it, at once, if it is still only reserved; return whether it was."""
    told = Update(event=Event.RELEASED, instance=device.instance, block_device=device)
    try:
        ports.devices.release(device, told)
    except (BlockDeviceNotFound, DeviceWrongState):
        return False
    return True


def drop_unused(held: Attachment, ports: Ports) -> None:
    """Delete the attachment, if it was never connected and no live row is for its volume.

    Whoever has reserved anew meanwhile has that one, or makes another.
    """
    rows = () if held.instance is None else ports.devices.of_instance(held.instance)
    used = {row.volume for row in rows} | {row.swap.volume for row in rows if row.swap}
    if held.status is AttachmentStatus.RESERVED and held.volume not in used:
        ports.attachments.delete(held.id)


def _is_here(instance: InstanceId, ports: Ports) -> bool:
    try:
        instance_here(instance, ports)
    except (InstanceNotFound, InstanceWrongState):
        return False
    return True
