"""Take a volume out of its instance."""

from dataclasses import dataclass, replace

from worker.errors import (
    AttachmentMismatch,
    BlockDeviceNotFound,
    DatabaseUnavailable,
    DeviceSuperseded,
    DeviceWrongState,
    GuestBusy,
    HypervisorUnavailable,
    LeftBehind,
)
from worker.handlers.parts import host_volume
from worker.handlers.parts.attachment_of import delete_attachment
from worker.handlers.parts.block_copy import end_copy
from worker.handlers.parts.config_drive import renew_after
from worker.handlers.parts.detaching import begin_detaching, roll_detaching
from worker.handlers.parts.find_device import (
    borne,
    guest_of,
    live_disk,
    make_own,
    persistent_disk,
)
from worker.handlers.parts.instance_here import changeable_instance
from worker.handlers.parts.reach_volume import let_go
from worker.model.block_device import DETACH_BEGUN, BlockDevice, DeviceStatus
from worker.model.guest import Guest
from worker.model.identity.lookup import Found
from worker.model.ids import AttachmentId, BlockDeviceId, InstanceId, VolumeId
from worker.model.instance import Instance
from worker.model.rescue.meanwhile import keeps
from worker.model.swap_sides import other_side
from worker.ports import Ports
from worker.undo import Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachVolume:
    """Operation: take a volume out of its instance."""

    instance_uuid: InstanceId
    volume_id: VolumeId
    bdm_uuid: BlockDeviceId | None = None
    attachment_id: AttachmentId | None = None
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """The row's disk: the alias by which a guest shows it, and what its next start has."""

    alias: str | None = None
    kept: Found | None = None


def name_the_row(request: DetachVolume, ports: Ports) -> BlockDeviceId | None:
    """Return the row that the request means: the one it names, or the one that is live now.

    Asked at acceptance, so that a late detach cannot undo a newer attachment.
    """
    if request.bdm_uuid is not None:
        return request.bdm_uuid
    row = _live(request, ports)
    return None if row is None else row.uuid


def detach_volume(request: DetachVolume, ports: Ports) -> BlockDevice:
    """Make the guest let go of the volume, then undo all that the attach did.

    A device that is gone already is a success. A guest that refuses leaves all as it was. One
    that bears no alias of ours is found by two facts that agree, or refused before all else.
    """
    instance = changeable_instance(request.instance_uuid, ports)
    device = _meant(request, ports)
    if device.deleted:
        return device
    _check_state(device)
    _check_attachment(request, device)
    seen = None if device.status in DETACH_BEGUN else _look_at_guest(device, instance, ports)
    try:
        _detach(request, device, seen, ports)
    except DatabaseUnavailable:
        raise
    except LeftBehind:
        ports.devices.save(replace(device, status=DeviceStatus.ERROR))
        raise
    return device


def _check_state(device: BlockDevice) -> None:
    if device.status is DeviceStatus.RESERVED:
        message = f"block device {device.uuid} is only reserved; release it instead"
        raise DeviceWrongState(message)
    if device.status is DeviceStatus.ATTACHING:
        message = f"block device {device.uuid} is attaching; its attach has not ended"
        raise DeviceWrongState(message)


def _check_attachment(request: DetachVolume, device: BlockDevice) -> None:
    if None in (device.attachment, request.attachment_id):
        return
    if device.attachment != request.attachment_id:
        message = f"block device {device.uuid} is held by attachment {device.attachment}"
        raise AttachmentMismatch(message)


def _meant(request: DetachVolume, ports: Ports) -> BlockDevice:
    if request.bdm_uuid is None:
        message = f"volume {request.volume_id} is not on instance {request.instance_uuid}"
        raise BlockDeviceNotFound(message)
    device = ports.devices.get(request.bdm_uuid)
    if (device.instance, device.its_volume) != (request.instance_uuid, request.volume_id):
        message = (
            f"block device {device.uuid} is volume {device.volume} on instance {device.instance}"
        )
        raise DeviceWrongState(message)
    newer = _live(request, ports)
    if device.deleted and newer is not None:
        message = f"block device {device.uuid} is gone; the volume is attached as {newer.uuid}"
        raise DeviceSuperseded(message)
    return device


def _live(request: DetachVolume, ports: Ports) -> BlockDevice | None:
    rows = ports.devices.of_instance(request.instance_uuid)
    return next((row for row in rows if row.volume == request.volume_id), None)


def _detach(request: DetachVolume, device: BlockDevice, seen: _Seen | None, ports: Ports) -> None:
    with Undo(ports.progress) as undo:
        undo.earlier("disks.unplug", _check_kept, device, ports)

        undo.by(_restore_status, device, ports)
        if device.status not in DETACH_BEGUN:
            ports.devices.move(device, DeviceStatus.DETACHING)

        undo.by(roll_detaching, device, ports)
        if not ports.progress.past_commit_point:
            # Later the volume may be free, and another's by now.
            begin_detaching(device, ports)

        if device.swap is not None:
            end_copy(device, ports)

        undo.by(_check_kept, device, ports)
        _unplug(device, seen, ports)
        undo.commit_point()

        seen = seen or _see(device, guest_of(device.instance, ports), ports)
        make_own(device, seen.kept, ports)
        ports.disks.forget(device.instance, device.alias)
        _unplug_once_more(device, ports)

        host_volume.disconnect(
            device.uuid, device.its_volume, device.connection, ports, force=request.force
        )

        _delete_attachment(request, device, ports)
        _let_go_of_other_side(device, ports)
        ports.devices.remove(device)
        renew_after(device, ports)


def _restore_status(device: BlockDevice, ports: Ports) -> None:
    ports.devices.save(replace(device, status=_former(device)))


def _former(device: BlockDevice) -> DeviceStatus:
    """Return what the row was before: one that is run again finds it detaching, or stuck."""
    return DeviceStatus.ATTACHED if device.status in DETACH_BEGUN else device.status


def _unplug(device: BlockDevice, seen: _Seen | None, ports: Ports) -> None:
    """A call that broke off, or came to a refusal, may have reached the guest all the same."""
    try:
        shown = _shown_as(device, ports) if seen is None else seen.alias
        ports.disks.unplug(device.instance, shown or device.alias)
    except (GuestBusy, HypervisorUnavailable):
        if _shown_as(device, ports) is not None:
            raise


def _unplug_once_more(device: BlockDevice, ports: Ports) -> None:
    """A guest that was started by other hands in between had it from the persistent layout."""
    alias = _shown_as(device, ports)
    if alias is not None:
        ports.disks.unplug(device.instance, alias)


def _look_at_guest(device: BlockDevice, instance: Instance, ports: Ports) -> _Seen:
    """Refuse what is another's disk; doubt a running guest that is said not to have its own.

    Its QEMU may have it all the same, and then nothing else would take it out. A guest that let go
    after it had refused is no such case: that detach is the worker's own. Nor is one in a rescue
    that leaves the disk out.
    """
    guest = guest_of(device.instance, ports)
    seen = _see(device, guest, ports)
    runs = guest is not None and guest.live is not None
    denied = runs and seen.alias is None and keeps(instance.rescue, device.target)
    asked = ports.progress.operation
    if denied and device.status is DeviceStatus.ATTACHED and asked is not None and not asked.own:
        ports.insides.doubt(device.instance)
    return seen


def _see(device: BlockDevice, guest: Guest | None, ports: Ports) -> _Seen:
    """Find the disk in both layouts; raises DeviceAmbiguous."""
    if guest is None:
        return _Seen()
    alias = _alias_in(guest, device, ports)
    return _Seen(alias=alias, kept=persistent_disk(device, guest, ports))


def _shown_as(device: BlockDevice, ports: Ports) -> str | None:
    """Return the alias by which the running guest shows the disk now; raises DeviceAmbiguous."""
    guest = guest_of(device.instance, ports)
    return None if guest is None else _alias_in(guest, device, ports)


def _alias_in(guest: Guest, device: BlockDevice, ports: Ports) -> str | None:
    found = live_disk(device, guest, ports)
    return None if found is None else borne(found)


def _check_kept(device: BlockDevice, ports: Ports) -> None:
    """There is no way back to a guest that has lost the device; say so."""
    if _shown_as(device, ports) is None:
        message = f"the guest lost {device.alias} all the same"
        raise HypervisorUnavailable(message)


def _let_go_of_other_side(device: BlockDevice, ports: Ports) -> None:
    """A swap that was given up has left a second volume."""
    if device.swap is not None:
        let_go(other_side(device), ports)
        delete_attachment(other_side(device), device.swap.attachment, ports)


def _delete_attachment(request: DetachVolume, device: BlockDevice, ports: Ports) -> None:
    """One that only the caller names, of an adopted disk, is looked at: it may be another's."""
    if device.attachment is not None:
        ports.attachments.delete(device.attachment)
    elif request.attachment_id is not None:
        delete_attachment(device, request.attachment_id, ports)
