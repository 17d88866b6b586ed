"""A disk's content copied while its guest uses it: begun, followed, and gone over to."""

from worker.errors import HypervisorRefused
from worker.model.block_device import BlockDevice
from worker.model.disk import Disk
from worker.model.update import Event, Update
from worker.ports import Ports

FIRST_REST, LONGEST_REST = 0.1, 2.0
"""Seconds between two looks at a copy: a small one is over soon, a large one is in no hurry."""

TOLD_EACH = 10
"""Percent; a listener wants to know that it goes on, and no more."""


def copy_over(row: BlockDevice, disk: Disk, size: int, ports: Ports) -> None:
    """Return when the guest has gone over; one that has is left as it is, and copies no more."""
    target = disk.source.name
    if ports.block_copies.look(row.instance, row.alias).source == target:
        end_copy(row, ports)
        return
    ports.block_copies.begin(row.instance, disk, size)
    if _follow(row, target, ports):
        ports.block_copies.pivot(row.instance, row.alias, target)


def end_copy(row: BlockDevice, ports: Ports) -> None:
    """End a copy that was given up and goes on by itself: the volume that it writes to is to go."""
    target = ports.block_copies.look(row.instance, row.alias).target
    if target is not None:
        ports.block_copies.abort(row.instance, row.alias, target)


def _follow(row: BlockDevice, target: str, ports: Ports) -> bool:
    """Return when the guest can go over, or, with False, when it has gone over by itself.

    libvirt may have been told to by a worker that died in it.
    """
    pause, told = FIRST_REST, 0
    while True:
        copy = ports.block_copies.look(row.instance, row.alias)
        if copy.source == target:
            return False
        if copy.target != target:
            message = f"the copy of {row.alias} to {target} ended before it was whole"
            raise HypervisorRefused(message)
        told = _tell(row, copy.percent, told, ports)
        ports.progress.rest(0.0 if copy.ready else pause)
        if copy.ready:
            return True
        pause = min(2 * pause, LONGEST_REST)


def _tell(row: BlockDevice, percent: int, told: int, ports: Ports) -> int:
    """Tell each tenth; return what is told by now."""
    operation = ports.progress.operation
    if percent >= told + TOLD_EACH:
        told = percent - percent % TOLD_EACH
        ports.updates.tell(
            Update(
                event=Event.VOLUME_SWAP_PROGRESS,
                instance=row.instance,
                operation=None if operation is None else operation.id,
                request_id=None if operation is None else operation.request_id,
                block_device=row,
                percent=percent,
            )
        )
    ports.progress.say(percent)
    return told
