"""The attach flow: nothing is left behind, whoever dies or is silent at whatever point.

The row is the turnstile. It is made first, by the worker, with an id of ours; whatever fails then,
it is given back by a compare-and-swap, and only who has won that may delete the attachment: an
attach that has begun keeps both, and one that begins later finds neither.
"""

from dataclasses import dataclass
from datetime import timedelta

from worker.api.asked import Asked, Json
from worker.api.services import Services
from worker.api.volume.pooled import owned_volume
from worker.errors import NoAnswer, VolumeAlreadyAttached, WorkerError
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.ids import BlockDeviceId, InstanceId, OperationId, VolumeId, new_uuid
from worker.model.instance import Instance
from worker.model.volume import AttachmentStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be attached, and how."""

    volume: VolumeId
    device: str | None = None
    tag: str | None = None
    multiattach: bool = False
    delete_on_termination: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """An attach that the worker's journal has: its operation, and the row as it was reserved."""

    operation: OperationId
    row: Json


def attach(asked: Asked, instance: Instance, wanted: Wanted, services: Services) -> Accepted:
    """Have the worker attach the volume; return once that is sure to come to an end.

    Raises what reservation, volume service and worker say; then nothing is reserved any more, and
    the request may be repeated.
    """
    owned_volume(asked, wanted.volume, services)
    _check_not_there(instance, wanted.volume, services)
    bdm, operation = BlockDeviceId(new_uuid()), OperationId(new_uuid())
    try:
        row = _reserve(asked, instance, wanted, bdm, services)
        attachment = services.attachments.create(wanted.volume, instance.uuid)
        services.workers.call(
            instance.host,
            "attach_volume",
            request_id=asked.request_id,
            operation_id=operation,
            expires_at=_latest(services),
            instance_uuid=instance.uuid,
            bdm_uuid=bdm,
            attachment_id=attachment.id,
        )
    except NoAnswer:
        if _given_back(instance, bdm, services) or services.fleet.operation(operation) is None:
            raise
    except WorkerError:
        _given_back(instance, bdm, services)
        raise
    return Accepted(operation=operation, row=row)


def _check_not_there(instance: Instance, volume: VolumeId, services: Services) -> None:
    """Raise VolumeAlreadyAttached, unless all that is there is what a dead API has reserved."""
    row = services.fleet.device(instance.uuid, volume)
    if row is None:
        return
    if _is_stale(row, services) and _given_back(instance, row.uuid, services):
        return
    message = (
        f"Invalid volume: volume {volume} already attached to instance {instance.uuid}"
        f" as {row.device_name} ({row.status})"
    )
    raise VolumeAlreadyAttached(message)


def _is_stale(row: BlockDevice, services: Services) -> bool:
    oldest = services.clock() - timedelta(seconds=services.limits.accepting)
    reserved = row.status is DeviceStatus.RESERVED
    return reserved and row.created_at is not None and row.created_at < oldest


def _reserve(
    asked: Asked, instance: Instance, wanted: Wanted, bdm: BlockDeviceId, services: Services
) -> Json:
    return services.workers.reserve_block_device_name(
        instance.host,
        instance_uuid=instance.uuid,
        volume_id=wanted.volume,
        bdm_uuid=bdm,
        device=wanted.device,
        tag=wanted.tag,
        multiattach=wanted.multiattach,
        delete_on_termination=wanted.delete_on_termination,
        request_id=asked.request_id,
    )


def _latest(services: Services) -> str:
    return (services.clock() + timedelta(seconds=services.limits.accepting)).isoformat()


def _given_back(instance: Instance, bdm: BlockDeviceId, services: Services) -> bool:
    """Give row and attachment back, if no attach has begun; return whether that was so."""
    row = services.fleet.row(bdm)
    if row is None:
        return True
    if not services.release(instance.host, row):
        return row.deleted
    _drop_attachment(instance.uuid, row.its_volume, services)
    return True


def _drop_attachment(instance: InstanceId, volume: VolumeId, services: Services) -> None:
    """Delete the attachment, looked for: a creation that timed out may have happened."""
    found = services.attachments.find(volume, instance)
    if found is not None and found.status is AttachmentStatus.RESERVED:
        services.attachments.delete(found.id)
