"""Finds instances that are in rescue for longer than they may be, and has them unrescued."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

from worker.execution import Scope
from worker.model.ids import OperationId
from worker.model.instance import Instance, VmState
from worker.model.method import Method
from worker.model.operation import Operation, OperationState
from worker.model.rescue.words import Rescue
from worker.ports import Ports
from worker.rpc.dispatch import Dispatcher
from worker.rpc.methods import OPERATIONS
from worker.wiring.sweep import Sweep

LOG = logging.getLogger(__name__)

LOOKS_A_TIMEOUT = 10
LONGEST_PAUSE = 60.0
OFF_PAUSE = 5.0
FIRST_RESPITE = timedelta(minutes=10)
LONGEST_RESPITE = timedelta(days=1)
NOT_SUCCEEDED = tuple(each for each in OperationState if each is not OperationState.SUCCEEDED)
"""Of what an instance had done to it nearly all succeeded, and ended no rescue that lasts."""

DOUBLINGS = 8  # by then it is longer than the longest


class LateRescues(Sweep):
    """Asks for the end of a rescue, and again after each failure, with ever longer respites.

    It asks for none of an instance that something else is done with. The journal is its memory:
    a worker that is started anew goes on where the last one was.
    """

    def __init__(
        self,
        open_call: Callable[[], AbstractContextManager[Ports]],
        dispatcher: Dispatcher,
        timeout: Callable[[], float],
    ) -> None:
        """``timeout`` in seconds is asked at each look; 0 leaves every rescue alone."""
        super().__init__("late rescues")
        self._open_call = open_call
        self._dispatcher = dispatcher
        self._timeout = timeout

    def look(self) -> None:
        """Have each that is late unrescued, in its lane; raises Unavailable."""
        seconds = self._timeout()
        if seconds <= 0:
            return
        with self._open_call() as ports:
            found = [(one, one.rescue) for one in ports.instances.in_rescue()]
            late = [
                (one, rescue.operation)
                for one, rescue in found
                if rescue is not None and _is_due(one, rescue, seconds, ports)
            ]
        for instance, rescue_operation in late:
            self._unrescue(instance, rescue_operation, seconds)

    def pause(self) -> float:
        """Return the seconds until the next look."""
        seconds = self._timeout()
        return min(LONGEST_PAUSE, seconds / LOOKS_A_TIMEOUT) if seconds > 0 else OFF_PAUSE

    def _unrescue(self, instance: Instance, meant: OperationId, seconds: float) -> None:
        """Name the rescue that was seen: by its turn, the instance may be in a later one."""
        asked = self._dispatcher.submit_own(
            Method.UNRESCUE_INSTANCE, instance_uuid=instance.uuid, rescue_operation=meant
        )
        line = "rescue timed out: instance=%s rescue_timeout=%.0f operation=%s"
        LOG.info(line, instance.uuid, seconds, asked.id)


def _is_due(instance: Instance, rescue: Rescue, seconds: float, ports: Ports) -> bool:
    now = ports.clock.now()
    if rescue.since is None or instance.vm_state is not VmState.RESCUED:
        return False
    if rescue.since > now - timedelta(seconds=seconds):
        return False
    known = ports.operations.list(instance=instance.uuid, states=NOT_SUCCEEDED)
    if any(_is_in_the_way(one) for one in known):
        return False
    ends = [one.ended_at for one in known if _was_asked(one, rescue) and one.ended_at is not None]
    return not ends or max(ends) + _respite(ends) <= now


def _is_in_the_way(other: Operation) -> bool:
    """Tell whether it is under way, or is stuck and would have an unrescue refused."""
    if not other.state.ended:
        return True
    kind = OPERATIONS.get(other.method)
    return other.state is OperationState.STUCK and (kind is None or kind.blocks is Scope.INSTANCE)


def _was_asked(other: Operation, rescue: Rescue) -> bool:
    asked = other.own and other.method == Method.UNRESCUE_INSTANCE
    return asked and other.arguments.get("rescue_operation") == rescue.operation


def _respite(ends: Sequence[datetime]) -> timedelta:
    doubled = 1 << min(len(ends) - 1, DOUBLINGS)
    return min(LONGEST_RESPITE, FIRST_RESPITE * doubled)
