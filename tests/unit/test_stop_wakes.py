"""A stop does not wait for what only waits to be tried again: the next worker takes it up."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from tests import fakes
from tests.fakes.database import FakeOperationRecord
from tests.fakes.world import World
from tests.unit import scenes
from tests.unit.runs import ASKED, LONG, kind_of
from worker.errors import DatabaseUnavailable, HypervisorUnavailable, Stopped
from worker.execution import Page, Patience
from worker.model.operation import Operation, OperationState, StepOutcome
from worker.ports import Ports
from worker.rpc.methods import OPERATIONS
from worker.runner import Runner
from worker.steps import Recorder, wrap_outside
from worker.wiring.waiting import Waiting

HOUR = timedelta(hours=1).total_seconds()
PATIENCE = Patience(first_pause=HOUR, longest_pause=HOUR)


class Away:
    """A watch under which one call fails for as long as it is away."""

    def __init__(self, step: str) -> None:
        self.step = step
        self.back = False
        self.failed = threading.Event()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        if name == self.step and not self.back:
            self.failed.set()
            raise HypervisorUnavailable("libvirt does not answer")
        yield


class AwayRecord(FakeOperationRecord):
    """A page that cannot be written to when the worker stops."""

    def leave(self) -> None:
        raise DatabaseUnavailable("away")


@pytest.fixture
def world() -> World:
    world = scenes.world()
    scenes.reserve(world)
    return world


def runner_under(
    away: Away, world: World, record: type[FakeOperationRecord] = FakeOperationRecord
) -> Runner:
    """Return a runner whose operations wait for what is away, as the worker's do."""

    def open_page(opened: Operation) -> Page:
        page = record(world, opened.id)
        recorder, waiting = Recorder(page, (away,)), Waiting(lambda: HOUR, runner.rest)
        ports = wrap_outside(
            fakes.ports(world, opened),
            lambda name, call: waiting.call(name, lambda: recorder.step(name, call)),
        )
        return Page(record=page, ports=ports, rest=runner.rest)

    runner = Runner(OPERATIONS, open_page, threads=1, patience=PATIENCE)
    return runner


def stopped_in_mid_attach(
    world: World, record: type[FakeOperationRecord] = FakeOperationRecord
) -> Operation:
    """Stop while an attach waits for libvirt; return the operation as the journal has it."""
    away = Away("disks.attach")
    runner = runner_under(away, world, record)
    operations = fakes.ports(world).operations
    runner.submit(operations.accept(ASKED)[0])
    assert away.failed.wait(LONG)
    assert runner.stop(LONG)
    world.crash()
    return operations.get(ASKED.id)


def test_what_waits_for_its_part_is_left_as_it_is(world: World) -> None:
    left = stopped_in_mid_attach(world)
    assert (left.state, left.attempts) == (OperationState.RUNNING, 0)
    assert left.steps[-1].name == "disks.attach"
    assert {step.outcome for step in left.steps} == {StepOutcome.DONE, StepOutcome.FAILED}
    assert world.connected == {scenes.VOLUME}


@pytest.mark.parametrize("last", [1, 2, 3])
def test_it_is_left_between_any_two_tries(last: int) -> None:
    tries: list[float] = []

    def rest(_seconds: float) -> None:
        if len(tries) >= last:
            raise Stopped

    def call() -> None:
        tries.append(1)
        assert len(tries) <= last, "it does not rest"
        raise HypervisorUnavailable("libvirt does not answer")

    with pytest.raises(Stopped):
        Waiting(lambda: HOUR, rest).call("disks.attach", call)
    assert len(tries) == last


def test_the_next_worker_takes_it_up_and_nobody_is_said_to_have_died(world: World) -> None:
    left = stopped_in_mid_attach(world)
    away = Away("disks.attach")
    away.back = True
    runner = runner_under(away, world)
    runner.recover([left])
    assert runner.wait_idle(LONG)
    ended = fakes.ports(world).operations.get(ASKED.id)
    assert (ended.state, ended.attempts) == (OperationState.SUCCEEDED, 0)


def test_without_a_database_it_is_left_as_a_crash_leaves_it(world: World) -> None:
    left = stopped_in_mid_attach(world, AwayRecord)
    assert left.state is OperationState.RUNNING
    assert left.steps[-1].outcome is StepOutcome.OPEN


def test_what_goes_forward_is_not_waited_for_either(world: World) -> None:
    calls, begun = [], threading.Event()

    def handler(_request: object, ports: Ports) -> None:
        ports.progress.pass_commit_point()
        calls.append(1)
        begun.set()
        raise HypervisorUnavailable("libvirt does not answer")

    runner = Runner(
        {ASKED.method: kind_of(handler)},
        lambda opened: Page(
            record=FakeOperationRecord(world, opened.id),
            ports=fakes.ports(world, opened),
            rest=runner.rest,
        ),
        threads=1,
        patience=PATIENCE,
    )
    runner.submit(fakes.ports(world).operations.accept(ASKED)[0])
    assert begun.wait(LONG)
    assert runner.stop(LONG)
    kept = fakes.ports(world).operations.get(ASKED.id)
    assert (kept.state, len(calls)) == (OperationState.RUNNING, 1)
    assert kept.past_commit_point
