"""An operation outlasts a short outage: what does not answer is asked again, in vain or not."""

import time
from collections.abc import Callable
from typing import TypeVar

from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from worker.errors import HypervisorUnavailable, ImagesUnavailable, VolumeServiceUnavailable
from worker.steps import port_of

ResultT = TypeVar("ResultT")

AWAY = (HypervisorUnavailable, ImagesUnavailable, VolumeServiceUnavailable)

OF_THIS_HOST = frozenset(
    {"host_files", "local_disks", "config_drives", "pool", "connector", "leftovers"}
)
"""The ports behind which nothing comes back by itself: a full disk stays full."""

NOT_WAITED_FOR = frozenset({"volumes.begin_detaching", "volumes.roll_detaching", "power.ask_off"})
"""What only spares others a surprise, a detach goes on without it; and what is asked once."""

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10.0


class Waiting:
    """Makes outside calls, again while their part is away, for so many seconds a call.

    A call that broke off may have had its effect: every port looks before it acts.
    """

    def __init__(
        self, seconds: Callable[[], float], rest: Callable[[float], None] = time.sleep
    ) -> None:
        """``seconds`` says, when a call fails, how long it may be tried in all.

        ``rest`` waits between two tries; what it raises is raised instead of a try.
        """
        self._seconds = seconds
        self._rest = rest

    def call(self, name: str, call: Callable[[], ResultT]) -> ResultT:
        """Make the call; raises what it raises, the last time."""
        try:
            return call()
        except AWAY:
            patience = self._seconds()
            if patience <= 0 or name in NOT_WAITED_FOR or port_of(name) in OF_THIS_HOST:
                raise
        return self._again(call, patience)

    def _again(self, call: Callable[[], ResultT], patience: float) -> ResultT:
        self._rest(min(FIRST_PAUSE, patience))
        retrying = Retrying(
            sleep=self._rest,
            stop=stop_after_delay(patience),
            wait=wait_random_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE),
            retry=retry_if_exception_type(AWAY),
            reraise=True,
        )
        result: ResultT = retrying(call)
        return result
