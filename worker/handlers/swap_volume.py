"""Put another volume in the place of an attached one, while the guest runs."""

from dataclasses import dataclass, replace

from worker.errors import (
    DatabaseUnavailable,
    DeviceWrongState,
    LeftBehind,
)
from worker.handlers.parts import host_volume
from worker.handlers.parts.attachment_of import (
    attachment_of,
    connection_of,
    delete_attachment,
)
from worker.handlers.parts.block_copy import copy_over
from worker.handlers.parts.config_drive import renew_after
from worker.handlers.parts.detaching import begin_detaching, roll_detaching
from worker.handlers.parts.guest_secrets import give_secrets
from worker.handlers.parts.instance_here import changeable_instance
from worker.handlers.parts.reach_volume import let_go
from worker.handlers.parts.swap_checks import check_swap
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.disk import Disk, disk_of
from worker.model.ids import AttachmentId, BlockDeviceId, InstanceId, VolumeId
from worker.model.instance import Instance
from worker.model.source import HostVolume
from worker.model.swap_sides import begun, other_side, side_of, turned, with_side
from worker.model.volume import Attachment, AttachmentStatus, Volume
from worker.ports import Ports
from worker.undo import Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapVolume:
    """Operation: have a guest go on with another volume, to which its disk is copied."""

    instance_uuid: InstanceId
    bdm_uuid: BlockDeviceId
    new_volume_id: VolumeId
    new_attachment_id: AttachmentId | None = None


def swap_volume(request: SwapVolume, ports: Ports) -> BlockDevice:
    """Copy the disk while it is in use, have the guest go over, let go of the volume it had.

    Before the guest goes over a failure leaves all as it was, the new volume apart: part of it is
    written. After that it only goes forward. Alias, serial, name and address of the disk stay.
    """
    instance = changeable_instance(request.instance_uuid, ports)
    row = _meant(request, ports)
    if row.swap is None and ports.progress.past_commit_point:
        return row
    try:
        return _swap(request, row, instance, ports)
    except DatabaseUnavailable:
        raise
    except LeftBehind:
        # Read anew: what it says of both sides is what is left behind.
        ports.devices.save(replace(ports.devices.get(row.uuid), status=DeviceStatus.ERROR))
        raise


def _meant(request: SwapVolume, ports: Ports) -> BlockDevice:
    row = ports.devices.get(request.bdm_uuid)
    if row.instance != request.instance_uuid or row.deleted:
        what = "was removed" if row.deleted else f"belongs to instance {row.instance}"
        message = f"block device {row.uuid} {what}"
        raise DeviceWrongState(message)
    if row.swap is not None and request.new_volume_id not in (row.its_volume, row.swap.volume):
        message = (
            f"block device {row.uuid} is between volumes {row.volume} and {row.swap.volume};"
            " ask for one of these"
        )
        raise DeviceWrongState(message)
    return row


def _swap(request: SwapVolume, row: BlockDevice, instance: Instance, ports: Ports) -> BlockDevice:
    named = request.new_attachment_id
    with Undo(ports.progress) as undo:
        wanted: Volume | None = None
        if row.swap is None:
            undo.by(_delete_given, request, ports)
            wanted = ports.volumes.show(request.new_volume_id)
            check_swap(row, wanted, instance, ports)
            row = begun(row, wanted.id)

        row = replace(row, status=DeviceStatus.ATTACHED)
        side = side_of(row, request.new_volume_id)
        if side.uuid == row.uuid:
            # What would be taken back from here on is what the guest has.
            undo.commit_point()
        undo.by(_restore, row, ports)
        undo.by(roll_detaching, row, ports)
        undo.by(delete_attachment, side, named, ports)
        undo.earlier("connector.connect", let_go, side, ports)
        undo.earlier("block_copies.begin", _end_copy, side, row.alias, ports)

        wanted = wanted or ports.volumes.show(request.new_volume_id)
        ports.devices.save(row)
        if side.uuid != row.uuid:
            begin_detaching(row, ports)

        attachment = attachment_of(side, named, ports)
        side = replace(side, attachment=attachment.id)
        ports.devices.save(with_side(row, side))

        connection = connection_of(attachment, ports)
        side = replace(side, connection=connection.without_secrets())
        row = with_side(row, side)
        ports.devices.save(row)

        undo.by(let_go, side, ports)
        volume = host_volume.connect(side, connection, ports)
        side = host_volume.check_identity(side, volume, wanted.size, ports)
        row = with_side(row, side)
        ports.devices.save(row)
        disk, size = _destination(row, wanted, volume, ports)

        undo.by(_end_copy, side, row.alias, ports)
        copy_over(row, disk, size, ports)
        undo.commit_point()

        return _finish(turned(row, wanted), attachment, disk, size, ports)


def _destination(
    row: BlockDevice, wanted: Volume, volume: HostVolume, ports: Ports
) -> tuple[Disk, int]:
    """Return the disk as it is to be, and how many bytes it will have.

    The row finds its secrets by its own name, as it will at each later start.
    """
    give_secrets(row, volume, ports)
    disk = disk_of(replace(row, multiattach=wanted.multiattach), volume)
    return disk, ports.connector.examine(volume).size


def _finish(
    row: BlockDevice, attachment: Attachment, disk: Disk, size: int, ports: Ports
) -> BlockDevice:
    """Keep what the guest has now, then let go of what it had."""
    former = other_side(row)
    ports.devices.save(row)
    _record(row, ports)
    _record(former, ports)
    if attachment.status is not AttachmentStatus.ATTACHED:
        ports.attachments.complete(attachment.id)

    ports.block_copies.settle(row.instance, disk, size)

    host_volume.disconnect(former.uuid, former.its_volume, former.connection, ports)
    if former.attachment is None:
        roll_detaching(former, ports)
    else:
        ports.attachments.delete(former.attachment)

    row = replace(row, swap=None)
    ports.devices.save(row)
    renew_after(row, ports)
    return row


def _record(side: BlockDevice, ports: Ports) -> None:
    if side.connection is not None:
        ports.connections.put(side, side.connection)


def _end_copy(side: BlockDevice, alias: str, ports: Ports) -> None:
    """There is no way back to the volume that a guest has left; say so."""
    found = None if side.connection is None else ports.connector.find(side.connection)
    if found is None:
        return
    target = found.source.name
    ports.block_copies.abort(side.instance, alias, target)
    if ports.block_copies.look(side.instance, alias).source == target:
        ports.progress.pass_commit_point()


def _delete_given(request: SwapVolume, ports: Ports) -> None:
    """The caller has made it for this alone; one that a row has is another matter.

    So is one for another volume or instance: it may be what another host's guest runs on.
    """
    named = request.new_attachment_id
    if named is None:
        return
    holder = ports.devices.holding(named)
    if holder is None or holder.deleted:
        row = ports.devices.get(request.bdm_uuid)
        delete_attachment(replace(row, volume=request.new_volume_id), named, ports)


def _restore(row: BlockDevice, ports: Ports) -> None:
    ports.devices.save(replace(row, swap=None))
