"""Finds volumes that were missing when their guest started, and sees whether they are back."""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from worker.errors import Unavailable
from worker.model.block_device import BlockDevice
from worker.model.instance import TaskState
from worker.model.method import Method
from worker.model.operation import OperationState
from worker.ports import Ports
from worker.rpc.dispatch import Dispatcher

LOG = logging.getLogger(__name__)


class MissingVolumes:
    """Looks at the start, and now and then; one try at a time for each volume."""

    def __init__(
        self,
        open_call: Callable[[], AbstractContextManager[Ports]],
        dispatcher: Dispatcher,
        interval: Callable[[], float],
    ) -> None:
        """``interval`` in seconds is asked before each pause."""
        self._open_call = open_call
        self._dispatcher = dispatcher
        self._interval = interval
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="missing-volumes", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()

    def look(self) -> None:
        """Have each missing volume tried, in its instance's lane; raises Unavailable."""
        with self._open_call() as ports:
            missing = [row for row in ports.devices.missing() if not _is_moving(row, ports)]
            wanted = [row for row in missing if not _on_its_way(row, ports)]
        for row in wanted:
            self._dispatcher.submit_own(
                Method.RETURN_VOLUME, instance_uuid=row.instance, bdm_uuid=row.uuid
            )

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.look()
            except Unavailable as error:
                LOG.warning("missing volumes not looked at: error=%s", error)
            except Exception:
                LOG.exception("missing volumes not looked at")
            self._stopping.wait(self._interval())


def _is_moving(row: BlockDevice, ports: Ports) -> bool:
    """Tell whether the row waits for an import, here or on another host, and for nothing else."""
    instance = ports.moves.find(row.instance)
    return instance is None or instance.task_state in (TaskState.RELEASED, TaskState.IMPORTING)


def _on_its_way(row: BlockDevice, ports: Ports) -> bool:
    """Tell whether an operation is at work on the row, or waits for an operator."""
    last = ports.operations.last_for(row.uuid)
    return last is not None and (not last.state.ended or last.state is OperationState.STUCK)
