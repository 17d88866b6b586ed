"""Steps: what the journal says of an outside call, before it and after it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from tests import fakes
from tests.fakes.database import FakeOperationRecord
from tests.fakes.volume_service import PASSWORD
from tests.fakes.world import World
from tests.unit import scenes
from tests.unit.scenes import OPERATION, VOLUME, Crash, operation
from worker.errors import Unavailable, VolumeNotFound, WorkerError
from worker.model.operation import Fault, Step, StepOutcome, fault_of
from worker.model.volume import NewVolume
from worker.ports import Ports
from worker.steps import OUTSIDE, Bound, Recorder, Watch, wrap_outside

UNTOLD = Fault(code="internal", message="the worker failed; its log says more")


@pytest.fixture
def world() -> World:
    world = scenes.world()
    fakes.ports(world).operations.accept(operation("attach_volume"))
    return world


def recorder(world: World, *watches: Watch) -> Recorder:
    return Recorder(FakeOperationRecord(world, OPERATION), watches)


def steps(world: World) -> list[Step]:
    return world.steps[OPERATION]


def test_a_step_is_open_in_the_journal_before_the_call(world: World) -> None:
    seen = recorder(world).step("disks.attach", lambda: list(steps(world)))

    (step,) = seen
    assert (step.name, step.outcome, step.seconds) == ("disks.attach", StepOutcome.OPEN, None)


def test_its_end_is_written_with_the_next_commit(world: World) -> None:
    answer = recorder(world).step("disks.attach", lambda: "answer")

    assert answer == "answer"
    assert steps(world)[0].outcome is StepOutcome.OPEN
    world.commit()
    (step,) = steps(world)
    assert (step.outcome, step.fault) == (StepOutcome.DONE, None)
    assert step.seconds is not None
    assert step.seconds >= 0


def raiser(error: BaseException) -> Callable[[], object]:
    def call() -> object:
        raise error

    return call


def test_a_step_that_failed_says_why(world: World) -> None:
    with pytest.raises(VolumeNotFound):
        recorder(world).step("volumes.show", raiser(VolumeNotFound("no volume")))
    world.commit()

    (step,) = steps(world)
    assert step.outcome is StepOutcome.FAILED
    assert step.fault == Fault(code="volume.not_found", message="no volume")


def test_a_step_in_which_the_worker_died_stays_open(world: World) -> None:
    with pytest.raises(Crash):
        recorder(world).step("disks.attach", raiser(Crash()))
    world.commit()

    assert steps(world)[0].outcome is StepOutcome.OPEN


def test_an_exception_that_nobody_knows_is_never_told_in_its_own_words(world: World) -> None:
    with pytest.raises(RuntimeError, match=PASSWORD):
        recorder(world).step("connector.connect", raiser(RuntimeError(PASSWORD)))
    world.commit()

    assert steps(world)[0].fault == UNTOLD


@pytest.mark.parametrize(
    "error", [RuntimeError(PASSWORD), KeyError(PASSWORD), OSError(5, PASSWORD)]
)
def test_the_fault_of_an_unknown_error_is_internal(error: Exception) -> None:
    assert fault_of(error) == UNTOLD


def test_the_fault_of_an_error_of_ours_is_its_code_and_sentence() -> None:
    assert fault_of(VolumeNotFound("no volume")) == Fault(
        code="volume.not_found", message="no volume"
    )
    assert fault_of(WorkerError("why")).code == "internal"


class Noting:
    """Watches that note when they are entered and left."""

    def __init__(self) -> None:
        self.noted: list[str] = []

    def watch(self, name: str) -> Watch:
        return lambda step: self._around(name, step)

    @contextmanager
    def _around(self, name: str, step: str) -> Iterator[None]:
        self.noted.append(f"{name} enters {step}")
        try:
            yield
        finally:
            self.noted.append(f"{name} leaves")

    def call(self) -> None:
        self.noted.append("call")


@pytest.fixture
def noting() -> Noting:
    return Noting()


def test_watches_are_entered_in_order_and_left_in_reverse(world: World, noting: Noting) -> None:
    recorder(world, noting.watch("one"), noting.watch("two")).step("a.b", noting.call)

    assert noting.noted == [
        "one enters a.b",
        "two enters a.b",
        "call",
        "two leaves",
        "one leaves",
    ]


def test_watches_see_that_a_call_failed(world: World) -> None:
    seen: list[type[BaseException] | None] = []

    class Seeing(AbstractContextManager[None]):
        def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
            seen.append(kind)

    with pytest.raises(VolumeNotFound):
        recorder(world, lambda _name: Seeing()).step("a.b", raiser(VolumeNotFound()))

    assert seen == [VolumeNotFound]


def test_a_watch_that_fails_fails_the_step_without_the_call(world: World, noting: Noting) -> None:
    def refuse(name: str) -> AbstractContextManager[None]:
        raise Unavailable(name)

    with pytest.raises(Unavailable):
        recorder(world, noting.watch("one"), refuse).step("a.b", noting.call)
    world.commit()

    assert noting.noted == ["one enters a.b", "one leaves"]
    assert steps(world)[0].outcome is StepOutcome.FAILED


def noted_ports(world: World) -> tuple[Ports, list[str]]:
    noted: list[str] = []

    def around(name: str, call: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever it answers
        noted.append(name)
        return call()

    return wrap_outside(fakes.ports(world), around), noted


def test_every_call_of_an_outside_port_goes_through_the_wrapper_by_its_name(world: World) -> None:
    ports, noted = noted_ports(world)

    assert ports.volumes.show(VOLUME) == world.volumes[VOLUME]
    ports.pool.create(NewVolume(id=VOLUME, size=1))

    assert noted == ["volumes.show", "pool.create"]


def test_the_journal_and_what_stands_beside_it_are_not_wrapped(world: World) -> None:
    ports, noted = noted_ports(world)

    ports.operations.get(OPERATION)
    ports.clock.now()
    ports.instances.list()

    assert noted == []


@pytest.mark.parametrize("port", OUTSIDE)
def test_a_wrapped_call_is_known_by_its_port_and_method(world: World, port: str) -> None:
    ports, _ = noted_ports(world)

    methods = [name for name in dir(getattr(fakes.ports(world), port)) if name[0] != "_"]
    called = [
        name for name in methods if callable(getattr(getattr(fakes.ports(world), port), name))
    ]
    assert [getattr(getattr(ports, port), name).__qualname__ for name in called] == [
        f"{port}.{name}" for name in called
    ]


@pytest.fixture
def bound() -> Iterator[Bound]:
    bound = Bound(0.05, threads=1)
    yield bound
    bound.close()


def test_a_bounded_call_answers_and_fails_as_the_call_does(bound: Bound) -> None:
    assert bound.call("volumes.show", lambda: 7) == 7
    with pytest.raises(VolumeNotFound):
        bound.call("volumes.show", raiser(VolumeNotFound()))


def test_a_bounded_call_that_hangs_is_unavailable(bound: Bound) -> None:
    back = threading.Event()

    with pytest.raises(Unavailable, match=r"guests\.describe gave no answer within 0\.05 s"):
        bound.call("guests.describe", lambda: back.wait(10))

    back.set()


def test_a_hanging_call_does_not_hold_up_the_end(bound: Bound) -> None:
    back = threading.Event()
    with pytest.raises(Unavailable):
        bound.call("guests.describe", lambda: back.wait(10))

    bound.close()

    back.set()


def test_a_bounded_call_that_had_no_turn_in_time_is_never_made(bound: Bound) -> None:
    back, made = threading.Event(), []
    with pytest.raises(Unavailable):
        bound.call("guests.describe", back.wait)
    with pytest.raises(Unavailable):
        bound.call("guests.describe", lambda: made.append("in vain"))
    back.set()

    assert bound.call("guests.describe", lambda: 7) == 7
    assert made == []
