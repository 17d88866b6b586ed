"""How long a call is tried again, and that nobody is asked sooner than it wants to be."""

import pytest

from worker.errors import (
    NEVER,
    HypervisorUnavailable,
    VolumeServiceForbids,
    VolumeServiceUnavailable,
    VolumeServiceUnsuitable,
    WorkerError,
)
from worker.wiring import waiting
from worker.wiring.waiting import Waiting


class Part:
    """Answers after so many failures; remembers the pauses between."""

    def __init__(self, *errors: WorkerError) -> None:
        self.errors = list(errors)
        self.pauses: list[float] = []

    def call(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    def waited(self, patience: float) -> str:
        return Waiting(lambda: patience, rest=self.pauses.append).call("volumes.show", self.call)


def busy(seconds: float) -> VolumeServiceUnavailable:
    return VolumeServiceUnavailable("busy", retry_after=seconds)


def test_pauses_grow_from_short_ones() -> None:
    part = Part(*[HypervisorUnavailable("away")] * 4)
    assert part.waited(60.0) == "done"
    assert part.pauses[0] == waiting.FIRST_PAUSE
    assert all(pause <= waiting.LONGEST_PAUSE for pause in part.pauses)


def test_who_asks_to_be_spared_is_spared_each_time() -> None:
    part = Part(busy(30.0), busy(20.0))
    assert part.waited(60.0) == "done"
    assert part.pauses[0] == 30.0
    assert part.pauses[1] >= 20.0


@pytest.mark.parametrize("before", [0, 1])
def test_what_patience_does_not_last_for_has_failed_at_once(before: int) -> None:
    part = Part(*[busy(0.0)] * before, busy(3600.0), busy(1.0))
    with pytest.raises(VolumeServiceUnavailable) as told:
        part.waited(60.0)
    assert told.value.retry_after == 3600.0
    assert len(part.pauses) == before
    assert len(part.errors) == 1


@pytest.mark.parametrize(
    "error",
    [busy(NEVER), VolumeServiceForbids("no"), VolumeServiceUnsuitable("no")],
    ids=["never", "forbids", "unsuitable"],
)
def test_what_does_not_come_back_by_itself_is_not_waited_for(error: WorkerError) -> None:
    part = Part(error)
    with pytest.raises(VolumeServiceUnavailable):
        part.waited(60.0)
    assert part.pauses == []


def test_without_patience_a_call_is_made_once() -> None:
    part = Part(busy(0.0), busy(0.0))
    with pytest.raises(VolumeServiceUnavailable):
        part.waited(0.0)
    assert part.pauses == []
