"""An operation outlasts a short outage: what does not answer is asked again, in vain or not."""

import time
from collections.abc import Callable
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    wait_random_exponential,
)

from worker.errors import (
    HypervisorUnavailable,
    ImagesUnavailable,
    KeysUnavailable,
    VolumeServiceUnavailable,
)
from worker.steps import port_of

ResultT = TypeVar("ResultT")

AWAY = (
    HypervisorUnavailable,
    ImagesUnavailable,
    KeysUnavailable,
    VolumeServiceUnavailable,
)

OF_THIS_HOST = frozenset({"host_files", "local_disks", "config_drives", "connector", "leftovers"})
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
        except AWAY as error:
            patience, spared = self._seconds(), _spared(error)
            if patience <= spared or name in NOT_WAITED_FOR or port_of(name) in OF_THIS_HOST:
                raise
        self._rest(max(spared, min(FIRST_PAUSE, patience)))
        return self._again(call, patience)

    def _again(self, call: Callable[[], ResultT], patience: float) -> ResultT:
        retrying = Retrying(
            sleep=self._rest,
            stop=lambda state: _is_over(state, patience),
            wait=_pause,
            retry=retry_if_exception_type(AWAY),
            reraise=True,
        )
        result: ResultT = retrying(call)
        return result


_growing = wait_random_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE)


def _pause(state: RetryCallState) -> float:
    return max(_growing(state), _spared(_raised(state)))


def _is_over(state: RetryCallState, patience: float) -> bool:
    """Nobody is asked earlier than it wants to be; what that is too late for has failed."""
    so_far, spared = state.seconds_since_start or 0.0, _spared(_raised(state))
    return so_far + spared >= patience


def _raised(state: RetryCallState) -> BaseException | None:
    return None if state.outcome is None else state.outcome.exception()


def _spared(error: BaseException | None) -> float:
    """Return for how many seconds its part asked to be left alone."""
    return error.retry_after if isinstance(error, VolumeServiceUnavailable) else 0.0
