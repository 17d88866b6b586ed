"""Has guests looked at, in their lanes, when there is reason to."""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import partial

from worker.errors import Unavailable
from worker.handlers.look_at_guest import OwnRequest, look_at_guest, look_for_ghosts
from worker.model.guest import GuestEvent, GuestInDoubt
from worker.model.ids import InstanceId
from worker.model.operation import Operation
from worker.ports import Ports
from worker.rpc.dispatch import Dispatcher
from worker.rpc.methods import OPERATIONS
from worker.runner import Runner

LOG = logging.getLogger(__name__)

LOOK_AGAIN = 5.0
"""Seconds after which a guest that could not be looked at is looked at again."""


def nothing_more() -> None:
    """Do nothing: there is no guest to be brought back."""


class Looks:
    """One look at a time for each guest; what happens before it comes is seen by it."""

    def __init__(
        self,
        open_call: Callable[[], AbstractContextManager[Ports]],
        runner: Runner,
        dispatcher: Dispatcher,
    ) -> None:
        """What a look calls for is journaled by the dispatcher."""
        self._open_call = open_call
        self._runner = runner
        self._dispatcher = dispatcher
        self._awaited: dict[InstanceId, bool] = {}
        self._fresh: set[InstanceId] = set()
        self._to_resume: set[InstanceId] = set()
        self._all_resumed = nothing_more
        self._lock = threading.Lock()

    def resume(self, instances: Sequence[InstanceId], then: Callable[[], None]) -> None:
        """Have those brought back that ran, by the next look at each; ``then`` when all are seen.

        To be said before any look is entered.
        """
        if not instances:
            then()
            return
        self._to_resume, self._all_resumed = set(instances), then

    def enter_first(self, instances: Sequence[InstanceId]) -> None:
        """Have each guest looked at as it is looked at once, when the worker starts."""
        self._fresh = set(instances)
        for instance in instances:
            self.enter(instance)

    def on_event(self, event: GuestEvent) -> None:
        """Have the guest looked at that something happened to."""
        self.enter(event.instance, in_doubt=isinstance(event, GuestInDoubt))

    def on_end(self, then: Callable[[Operation], None], operation: Operation) -> None:
        """Have the guest looked at that an operation has switched, and tell ``then`` of its end.

        What happened to it while the operation was stuck, or its instance in rescue, was not
        followed, and nothing need happen afterwards. Mostly the look is awaited already.
        """
        if operation.instance is not None and OPERATIONS[operation.method].task is not None:
            self.enter(operation.instance)
        then(operation)

    def enter(self, instance: InstanceId, *, in_doubt: bool = False) -> None:
        """Have the guest looked at; one in doubt in QEMU too."""
        with self._lock:
            awaited = instance in self._awaited
            self._awaited[instance] = in_doubt or self._awaited.get(instance, False)
        if not awaited:
            self._runner.enter(instance, partial(self._look, instance))

    def _look(self, instance: InstanceId) -> None:
        with self._lock:
            in_doubt = self._awaited.pop(instance, False)
        try:
            resume, first = instance in self._to_resume, instance in self._fresh
            self._take(instance, partial(look_at_guest, resume=resume, first=first))
            self._seen(instance)
            if in_doubt:
                self._take(instance, look_for_ghosts)
        except Unavailable as error:
            LOG.warning("guest not looked at yet: instance=%s error=%s", instance, error)
            again = threading.Timer(LOOK_AGAIN, partial(self.enter, instance, in_doubt=in_doubt))
            again.daemon = True
            again.start()

    def _seen(self, instance: InstanceId) -> None:
        """What it takes to bring the guest back is in the journal."""
        with self._lock:
            self._fresh.discard(instance)
            last = self._to_resume == {instance}
            self._to_resume.discard(instance)
        if last:
            self._all_resumed()

    def _take(
        self, instance: InstanceId, look: Callable[[InstanceId, Ports], tuple[OwnRequest, ...]]
    ) -> None:
        with self._open_call() as ports:
            wanted = look(instance, ports)
        for request in wanted:
            self._dispatcher.submit_own(_method_of(request), **asdict(request))


def _method_of(request: OwnRequest) -> str:
    return next(name for name, kind in OPERATIONS.items() if kind.request is type(request))
