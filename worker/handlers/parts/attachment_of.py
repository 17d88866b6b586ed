"""A volume's attachment to an instance: which one is meant, and how it says to reach the volume.

One rule for whoever needs it. The attachment that was named is looked at anew in every run, for it
costs no call more, and a run after a crash must not take another's volume either. Where one was
named no other is made or deleted: a volume that is being moved may have a second one to the same
instance, for another host.
"""

from worker.errors import AttachmentMismatch, AttachmentNotFound
from worker.model.block_device import BlockDevice
from worker.model.connection import Connection
from worker.model.ids import AttachmentId, InstanceId, VolumeId
from worker.model.volume import Attachment
from worker.ports import Ports


def attachment_of(device: BlockDevice, named: AttachmentId | None, ports: Ports) -> Attachment:
    """Return the attachment named; if none is, the one there is, or a new one.

    Raises AttachmentNotFound, AttachmentMismatch, VolumeInUse.
    """
    found = held(named, device.its_volume, device.instance, ports)
    return found or ports.attachments.create(device.its_volume, device.instance)


def held(
    named: AttachmentId | None, volume: VolumeId, instance: InstanceId, ports: Ports
) -> Attachment | None:
    """Return the attachment named; if none is, the one there is, if there is one.

    Raises AttachmentNotFound, AttachmentMismatch.
    """
    if named is None:
        return ports.attachments.find(volume, instance)
    return checked(named, volume, instance, ports)


def checked(
    named: AttachmentId, volume: VolumeId, instance: InstanceId, ports: Ports
) -> Attachment:
    """Return the attachment; raises AttachmentNotFound, AttachmentMismatch if it is another's."""
    found = ports.attachments.get(named)
    if (found.volume, found.instance) != (volume, instance):
        message = f"attachment {found.id} is for volume {found.volume} on instance {found.instance}"
        raise AttachmentMismatch(message)
    return found


def connection_of(attachment: Attachment, ports: Ports) -> Connection:
    """Return how this host reaches the volume; only an attachment that does not say is asked.

    Asked again, Cinder would export anew.
    """
    return attachment.connection or ports.attachments.connect(
        attachment.id, ports.connector.properties()
    )


def delete_attachment(device: BlockDevice, named: AttachmentId | None, ports: Ports) -> None:
    """Delete the attachment, looked up anew: a creation that timed out may have happened.

    One that was named and that turns out to be another's is left alone.
    """
    try:
        found = held(named, device.its_volume, device.instance, ports)
    except (AttachmentMismatch, AttachmentNotFound):
        return
    if found is not None:
        ports.attachments.delete(found.id)
