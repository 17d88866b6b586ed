"""Finds instances that are in rescue for longer than they may be, and has them unrescued."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

from worker.execution import Scope
from worker.model.instance import Instance, VmState
from worker.model.method import Method
from worker.model.operation import Operation, OperationState
from worker.ports import Ports
from worker.rpc.dispatch import Dispatcher
from worker.rpc.methods import OPERATIONS
from worker.wiring.sweep import Sweep

LOG = logging.getLogger(__name__)

LOOKS_A_TIMEOUT = 10
LONGEST_PAUSE = 60.0
OFF_PAUSE = 5.0


class LateRescues(Sweep):
    """Asks once a rescue, and for none of an instance that something else is done with."""

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
            late = [one for one in ports.instances.in_rescue() if _is_late(one, seconds, ports)]
        for instance in late:
            self._unrescue(instance, seconds)

    def pause(self) -> float:
        """Return the seconds until the next look."""
        seconds = self._timeout()
        return min(LONGEST_PAUSE, seconds / LOOKS_A_TIMEOUT) if seconds > 0 else OFF_PAUSE

    def _unrescue(self, instance: Instance, seconds: float) -> None:
        asked = self._dispatcher.submit_own(Method.UNRESCUE_INSTANCE, instance_uuid=instance.uuid)
        line = "rescue timed out: instance=%s rescue_timeout=%.0f operation=%s"
        LOG.info(line, instance.uuid, seconds, asked.id)


def _is_late(instance: Instance, seconds: float, ports: Ports) -> bool:
    since = None if instance.rescue is None else instance.rescue.since
    if since is None or instance.vm_state is not VmState.RESCUED:
        return False
    if since > ports.clock.now() - timedelta(seconds=seconds):
        return False
    known = ports.operations.list(instance=instance.uuid)
    return not any(_is_in_the_way(one) or _was_asked(one, since) for one in known)


def _is_in_the_way(other: Operation) -> bool:
    """Tell whether it is under way, or is stuck and would have an unrescue refused."""
    if not other.state.ended:
        return True
    kind = OPERATIONS.get(other.method)
    return other.state is OperationState.STUCK and (kind is None or kind.blocks is Scope.INSTANCE)


def _was_asked(other: Operation, since: datetime) -> bool:
    asked = other.own and other.method == Method.UNRESCUE_INSTANCE
    return asked and other.accepted_at is not None and other.accepted_at >= since
