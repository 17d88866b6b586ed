"""A reservation of the API's and its attachment, given back unless an attach has begun."""

from worker.api.services import Services
from worker.model.block_device import BlockDevice
from worker.model.ids import BlockDeviceId
from worker.model.instance import Instance
from worker.model.volume import Attachment, AttachmentStatus


def give_back_unsent(instance: Instance, bdm: BlockDeviceId, services: Services) -> None:
    """Give back what no attach can come for, since none was asked for.

    The attachment goes first, while the row is held: if this ends in between, the row lapses. It is
    looked for, since a creation that was not answered may have happened.
    """
    row = services.fleet.row(bdm)
    if row is None or row.deleted:
        return
    held = services.attachments.find(row.its_volume, instance.uuid)
    if held is not None:
        drop_unused(held, services, holding=bdm)
    services.release(instance.host, row)


def give_back(
    instance: Instance, row: BlockDevice, held: Attachment | None, services: Services
) -> bool:
    """Give the row back, and the attachment, if no attach has begun; return whether that was so.

    The row goes first: an attach may begin at any moment, and only who has won the row deletes.
    ``held`` was read before that.
    """
    if not services.release(instance.host, row):
        return False
    if held is not None:
        drop_unused(held, services)
    return True


def drop_unused(
    held: Attachment, services: Services, *, holding: BlockDeviceId | None = None
) -> None:
    """Delete the attachment, if it was never connected and no row but ours is live for it.

    One that takes its volume in by a swap is such a row, too.
    """
    if held.status is not AttachmentStatus.RESERVED or held.instance is None:
        return
    rows = services.fleet.devices(held.instance)
    used = {row.volume for row in rows if row.uuid != holding}
    used |= {row.swap.volume for row in rows if row.swap}
    if held.volume not in used:
        services.attachments.delete(held.id)
