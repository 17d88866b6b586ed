"""The attach flow: nothing is left behind, whoever dies or is silent at whatever point.

The row is the turnstile (docs/adr/0038). It is reserved first, by the worker, with an id of ours,
and an attachment is made only while it is held; whatever fails then, both are given back, unless
the attach has begun: then it goes on, and keeps both.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.api.asked import Asked, Json
from worker.api.compute.giving_back import drop_unused, give_back, give_back_unsent
from worker.api.services import Services
from worker.errors import VolumeAlreadyAttached, WorkerError
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.ids import BlockDeviceId, OperationId, VolumeId, new_uuid
from worker.model.instance import Instance
from worker.model.volume import Attachment

LOG = logging.getLogger(__name__)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attach:
    """One request on its way: the ids that it has drawn, and until when its attach may begin.

    That is reckoned from before the reservation, so that one which is taken for a dead API's
    cannot begin any more.
    """

    request_id: str
    instance: Instance
    wanted: Wanted
    until: datetime
    bdm: BlockDeviceId
    operation: OperationId


def attach(asked: Asked, instance: Instance, wanted: Wanted, services: Services) -> Accepted:
    """Have the worker attach the volume; return once that is sure to come to an end.

    Raises what reservation, volume service and worker say; then nothing is reserved any more, and
    the request may be repeated.
    """
    _check_not_there(instance, wanted.volume, services)
    begun = _Attach(
        request_id=asked.request_id,
        instance=instance,
        wanted=wanted,
        until=services.clock() + timedelta(seconds=services.limits.accepting),
        bdm=BlockDeviceId(new_uuid()),
        operation=OperationId(new_uuid()),
    )
    try:
        row = _reserve(begun, services)
        attachment = _attachment(begun, services)
    except Exception:
        give_back_unsent(instance, begun.bdm, services)
        raise
    try:
        _send(begun, attachment, services)
    except Exception as error:
        if not _goes_on(begun, attachment, services):
            raise
        _note_unanswered(begun, error)
    return Accepted(operation=begun.operation, row=row)


def _check_not_there(instance: Instance, volume: VolumeId, services: Services) -> None:
    """Raise VolumeAlreadyAttached, unless all that is there is what a dead API has reserved."""
    row = services.fleet.device(instance.uuid, volume)
    if row is None:
        return
    if _is_stale(row, services):
        held = services.attachments.find(volume, instance.uuid)
        if give_back(instance, row, held, services):
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


def _reserve(begun: _Attach, services: Services) -> Json:
    wanted = begun.wanted
    return services.workers.reserve_block_device_name(
        begun.instance.host,
        instance_uuid=begun.instance.uuid,
        volume_id=wanted.volume,
        bdm_uuid=begun.bdm,
        device=wanted.device,
        tag=wanted.tag,
        multiattach=wanted.multiattach,
        delete_on_termination=wanted.delete_on_termination,
        request_id=begun.request_id,
    )


def _attachment(begun: _Attach, services: Services) -> Attachment:
    """Return one of our own making.

    What is there was left by somebody who holds no row, and may be about to delete it.
    """
    left = services.attachments.find(begun.wanted.volume, begun.instance.uuid)
    if left is not None:
        drop_unused(left, services, holding=begun.bdm)
    return services.attachments.create(begun.wanted.volume, begun.instance.uuid)


def _send(begun: _Attach, attachment: Attachment, services: Services) -> None:
    services.workers.call(
        begun.instance.host,
        "attach_volume",
        request_id=begun.request_id,
        operation_id=begun.operation,
        expires_at=begun.until.isoformat(),
        instance_uuid=begun.instance.uuid,
        bdm_uuid=begun.bdm,
        attachment_id=attachment.id,
    )


def _note_unanswered(begun: _Attach, error: Exception) -> None:
    said = error.code if isinstance(error, WorkerError) else type(error).__name__
    LOG.warning("attach goes on unanswered: operation=%s error=%s", begun.operation, said)


def _goes_on(begun: _Attach, attachment: Attachment, services: Services) -> bool:
    """Tell whether the attach was accepted all the same; if not, row and attachment go."""
    if services.fleet.operation(begun.operation) is not None:
        return True
    row = services.fleet.row(begun.bdm)
    if row is not None and give_back(begun.instance, row, attachment, services):
        return False
    # Somebody was first: the attach itself, or who took the reservation for a dead API's.
    return services.fleet.operation(begun.operation) is not None
