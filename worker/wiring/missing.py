"""Finds volumes that were missing when their guest started, and sees whether they are back."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from worker.model.block_device import BlockDevice
from worker.model.instance import TaskState, VmState
from worker.model.method import Method
from worker.model.operation import OperationState
from worker.ports import Ports
from worker.rpc.dispatch import Dispatcher
from worker.wiring.sweep import Sweep


class MissingVolumes(Sweep):
    """Looks at the start, and now and then; one try at a time for each volume."""

    def __init__(
        self,
        open_call: Callable[[], AbstractContextManager[Ports]],
        dispatcher: Dispatcher,
        interval: Callable[[], float],
    ) -> None:
        """``interval`` in seconds is asked before each pause."""
        super().__init__("missing volumes")
        self._open_call = open_call
        self._dispatcher = dispatcher
        self._interval = interval

    def look(self) -> None:
        """Have each missing volume tried, in its instance's lane; raises Unavailable."""
        with self._open_call() as ports:
            missing = [row for row in ports.devices.missing() if not _waits(row, ports)]
            wanted = [row for row in missing if not _on_its_way(row, ports)]
        for row in wanted:
            self._dispatcher.submit_own(
                Method.RETURN_VOLUME, instance_uuid=row.instance, bdm_uuid=row.uuid
            )

    def pause(self) -> float:
        """Return the seconds until the next look."""
        return self._interval()


def _waits(row: BlockDevice, ports: Ports) -> bool:
    """Tell whether the row waits for an import, here or on another host, or for an unrescue."""
    instance = ports.moves.find(row.instance)
    if instance is None or instance.vm_state is VmState.RESCUED:
        return True
    return instance.task_state in (TaskState.RELEASED, TaskState.IMPORTING)


def _on_its_way(row: BlockDevice, ports: Ports) -> bool:
    """Tell whether an operation is at work on the row, or waits for an operator."""
    last = ports.operations.last_for(row.uuid)
    return last is not None and (not last.state.ended or last.state is OperationState.STUCK)
