"""Mend what differs between the views of one instance's disks, where that is safe."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from worker.errors import (
    ConnectFailed,
    DatabaseUnavailable,
    GuestBusy,
    HypervisorRefused,
    InstanceNotFound,
    LeftBehind,
    LocalDiskUnavailable,
    Unavailable,
    WorkerError,
)
from worker.handlers.find_drift import check_known, look
from worker.handlers.parts import residue
from worker.handlers.parts.instance_here import check_changeable
from worker.handlers.parts.mends import MENDS
from worker.model.block_device import BlockDevice
from worker.model.drift import Difference, DriftKind, Views, compare
from worker.model.ids import InstanceId
from worker.model.update import Event, Update
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairDrift:
    """Operation: mend what ``find_drift`` and ``find_residue`` offer to mend of one instance."""

    instance_uuid: InstanceId
    qemu: bool = False


TRIES = 2
"""How often one difference is tried: once more, for a failure may have been a passing one."""

NOT_AWAY = (GuestBusy, HypervisorRefused, ConnectFailed, LocalDiskUnavailable)
"""Refusals, for which there is nothing to wait."""


@dataclass(kw_only=True)
class _Course:
    """How far one run has come, by what each difference is about."""

    tries: Counter[tuple[str, ...]] = field(default_factory=Counter)
    failures: dict[tuple[str, ...], str] = field(default_factory=dict)
    mended: set[tuple[str, ...]] = field(default_factory=set)


def repair_drift(request: RepairDrift, ports: Ports) -> None:
    """Find anew, mend, and look again, until nothing is left that can be mended.

    There is no way back from a mend, for it undoes what should not be: the first is the commit
    point. Each looks before it acts, so that the operation can be run again. A mend that is
    refused does not keep the others from being made; then LeftBehind names it.
    """
    _check_known(request.instance_uuid, ports)
    _check_changeable(request.instance_uuid, ports)
    course = _Course()
    left = _mend_all(request, course, ports)
    if ports.progress.past_commit_point:
        _tell(request, course, ports)
    if left:
        raise LeftBehind(_not_mended(left, course))


def _check_known(instance: InstanceId, ports: Ports) -> None:
    """What was left on this host may be all there is of an instance, and gone in a run before."""
    try:
        check_known(instance, ports)
    except InstanceNotFound:
        if not ports.progress.past_commit_point and not residue.of_instance(instance, ports):
            raise


def _check_changeable(instance: InstanceId, ports: Ports) -> None:
    """What was left by an instance that is no more is mended all the same."""
    with suppress(InstanceNotFound):
        check_changeable(ports.instances.get(instance), ports)


def _mend_all(request: RepairDrift, course: _Course, ports: Ports) -> list[Difference]:
    """Mend round by round, for some wait for others; return what could not be."""
    while True:
        views = _look(request, ports)
        left = residue.of_instance(request.instance_uuid, ports)
        offered = [each for each in (*compare(views).differences, *left) if each.safe]
        ready = [each for each in offered if not each.mend.waits]
        ready = [each for each in ready if course.tries[each.subject] < TRIES]
        about = [(each, each.device) for each in ready if each.device is not None]
        if not about:
            return offered
        ports.progress.pass_commit_point()
        for each, device in about:
            _try(each, device, views, course, ports)


def _look(request: RepairDrift, ports: Ports) -> Views:
    """Ask QEMU too before a disk is plugged in: it may have it, and its hypervisor deny it.

    Then nothing is plugged in, and the next one who looks is to see why.
    """
    views = look(request.instance_uuid, ports, qemu=request.qemu)
    if views.inner is not None or not any(map(_plugs, compare(views).differences)):
        return views
    views = look(request.instance_uuid, ports, qemu=True)
    if any(each.kind is DriftKind.GHOST for each in compare(views).differences):
        ports.insides.doubt(request.instance_uuid)
    return views


def _plugs(difference: Difference) -> bool:
    return difference.safe and difference.kind is DriftKind.LIVE_MISSING


def _try(
    difference: Difference, device: BlockDevice, views: Views, course: _Course, ports: Ports
) -> None:
    """Mend it by the row as it is by now: an earlier mend may have changed it."""
    subject = difference.subject
    course.tries[subject] += 1
    try:
        _mend(difference, ports.devices.get(device.uuid), views, ports)
    except WorkerError as error:
        _check_is_refusal(error)
        course.failures[subject] = str(error)
        if isinstance(error, GuestBusy):
            course.tries[subject] = TRIES
    else:
        course.mended.add(subject)


def _mend(difference: Difference, row: BlockDevice, views: Views, ports: Ports) -> None:
    if difference.thing is None:
        MENDS[difference.kind](row, views, ports)
    else:
        residue.remove(difference, row, ports)


def _check_is_refusal(error: WorkerError) -> None:
    """What only does not answer is waited for by the runner."""
    if isinstance(error, DatabaseUnavailable):
        raise error
    if isinstance(error, Unavailable) and not isinstance(error, NOT_AWAY):
        raise error


def _tell(request: RepairDrift, course: _Course, ports: Ports) -> None:
    operation = ports.progress.operation
    ports.updates.tell(
        Update(
            event=Event.DRIFT_REPAIRED,
            instance=request.instance_uuid,
            operation=None if operation is None else operation.id,
            request_id=None if operation is None else operation.request_id,
            count=len(course.mended),
        )
    )


def _not_mended(left: list[Difference], course: _Course) -> str:
    why = [
        f"{each.kind} {each.alias or ''}"
        f" ({course.failures.get(each.subject, 'it is still so after the mend')})"
        for each in left
    ]
    return f"{len(course.mended)} mended, not mended: {'; '.join(why)}"
