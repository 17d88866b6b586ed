"""Lanes: what runs after what, what runs beside what, and what is left at the end."""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit.scenes import AT_ONCE, operation, soon
from worker.execution import Kind, Page
from worker.model.ids import InstanceId
from worker.model.operation import Operation, OperationState, Step
from worker.ports import Ports
from worker.runner import Runner

LONG = 10.0


class Work:
    """A handler that notes what it was given, in order, and waits where it is told to."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.gates: dict[str, threading.Event] = {}
        self.reached = threading.Semaphore(0)

    def gate(self, name: str) -> threading.Event:
        return self.gates.setdefault(name, threading.Event())

    def __call__(self, request: dict[str, Any], ports: Ports) -> None:
        name = request["name"]
        self.begun.append(name)
        self.reached.release()
        if name in self.gates:
            assert self.gates[name].wait(LONG)

    def wait_begun(self) -> None:
        assert self.reached.acquire(timeout=LONG)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def work() -> Work:
    return Work()


MakeRunner = Callable[[int], Runner]


@pytest.fixture
def make_runner(world: World, work: Work) -> Iterator[MakeRunner]:
    """A maker of runners that have ended with the test."""
    made: list[Runner] = []

    def make(threads: int) -> Runner:
        kinds = {"work": Kind(request=dict, handler=work)}
        made.append(
            Runner(kinds, lambda asked: fakes.page(world, asked), threads=threads, patience=AT_ONCE)
        )
        return made[-1]

    yield make
    for runner in made:
        for gate in work.gates.values():
            gate.set()
        runner.stop(LONG)


def accepted(world: World, name: str, number: int) -> Operation:
    """Return an operation of that name, in the lane of its first letter."""
    asked = replace(
        operation("work", number, name=name), lane=name[0], instance=InstanceId(name[0])
    )
    return fakes.ports(world).operations.accept(asked)[0]


def submit(runner: Runner, world: World, *names: str) -> None:
    for name in names:
        runner.submit(accepted(world, name, len(world.operations) + 1))


def states(world: World) -> list[OperationState]:
    return [kept.state for kept in world.operations.values()]


def test_operations_of_one_lane_run_in_the_order_they_came(
    make_runner: MakeRunner, world: World, work: Work
) -> None:
    names = [f"a{number}" for number in range(20)]
    runner = make_runner(4)

    submit(runner, world, *names)

    assert runner.wait_idle(LONG)
    assert work.begun == names
    assert set(states(world)) == {OperationState.SUCCEEDED}


def test_lanes_run_side_by_side(make_runner: MakeRunner, world: World, work: Work) -> None:
    gates = [work.gate("a1"), work.gate("b1")]
    runner = make_runner(2)

    submit(runner, world, "a1", "b1")
    work.wait_begun()
    work.wait_begun()

    assert sorted(work.begun) == ["a1", "b1"]
    for gate in gates:
        gate.set()
    assert runner.wait_idle(LONG)


def test_no_more_lanes_run_than_there_are_threads(
    make_runner: MakeRunner, world: World, work: Work
) -> None:
    gate = work.gate("a1")
    runner = make_runner(1)

    submit(runner, world, "a1", "b1")
    work.wait_begun()
    assert not runner.wait_idle(0.02)

    assert work.begun == ["a1"]
    gate.set()
    assert runner.wait_idle(LONG)


def test_a_long_lane_lets_others_have_their_turn(
    make_runner: MakeRunner, world: World, work: Work
) -> None:
    gate = work.gate("a1")
    runner = make_runner(1)

    submit(runner, world, "a1", "a2", "a3", "b1", "c1")
    work.wait_begun()
    gate.set()

    assert runner.wait_idle(LONG)
    assert work.begun == ["a1", "b1", "c1", "a2", "a3"]


def test_work_that_is_no_operation_keeps_its_place_in_the_lane(
    make_runner: MakeRunner, world: World, work: Work
) -> None:
    gate = work.gate("a1")
    runner = make_runner(4)

    submit(runner, world, "a1")
    runner.enter("a", lambda: work.begun.append("a look"))
    submit(runner, world, "a2")
    gate.set()

    assert runner.wait_idle(LONG)
    assert work.begun == ["a1", "a look", "a2"]


def test_what_an_earlier_worker_left_is_taken_up_in_its_order(
    make_runner: MakeRunner, world: World, work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    for number, name in enumerate(["a1", "a2", "a3"], 1):
        accepted(world, name, number)
    done = next(iter(world.operations))
    world.operations[done] = replace(world.operations[done], state=OperationState.SUCCEEDED)
    runner = make_runner(2)

    with caplog.at_level(logging.INFO):
        runner.recover(fakes.ports(world).operations.unfinished())
        assert runner.wait_idle(LONG)

    assert work.begun == ["a2", "a3"]
    assert "operations recovered: count=2" in caplog.messages


def test_without_anything_left_nothing_is_said(
    make_runner: MakeRunner, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        make_runner(1).recover([])

    assert caplog.messages == []


def test_a_stop_waits_for_what_runs_and_leaves_the_rest_in_the_journal(
    make_runner: MakeRunner, world: World, work: Work
) -> None:
    gate = work.gate("a1")
    runner = make_runner(1)
    submit(runner, world, "a1", "a2", "b1")
    work.wait_begun()
    opener = threading.Timer(0.05, gate.set)
    opener.start()

    assert runner.stop(LONG)

    opener.join()
    assert work.begun == ["a1"]
    assert states(world) == [
        OperationState.SUCCEEDED,
        OperationState.QUEUED,
        OperationState.QUEUED,
    ]


def test_a_stop_says_that_something_still_runs(
    make_runner: MakeRunner, world: World, work: Work
) -> None:
    gate = work.gate("a1")
    runner = make_runner(1)
    submit(runner, world, "a1", "b1")
    work.wait_begun()

    assert not runner.stop(0.01)

    gate.set()
    assert runner.stop(LONG)
    assert work.begun == ["a1"]


def test_after_a_stop_nothing_is_begun(make_runner: MakeRunner, world: World, work: Work) -> None:
    runner = make_runner(1)

    assert runner.stop(LONG)
    submit(runner, world, "a1")
    runner.enter("b", lambda: work.begun.append("a look"))

    assert runner.wait_idle(LONG)
    assert work.begun == []
    assert states(world) == [OperationState.QUEUED]


def test_a_method_that_this_release_lacks_leaves_its_lane_open(
    make_runner: MakeRunner, world: World, work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    runner = make_runner(1)
    unknown = accepted(world, "a1", 1)
    world.operations[unknown.id] = replace(unknown, method="of-a-later-release")

    runner.submit(world.operations[unknown.id])
    submit(runner, world, "a2")

    assert runner.wait_idle(LONG)
    assert work.begun == ["a2"]
    assert "work left unfinished: lane=a" in caplog.messages
    assert states(world)[0] is OperationState.QUEUED


def test_a_page_that_cannot_be_opened_leaves_its_lane_open(world: World, work: Work) -> None:
    def open_page(asked: Operation) -> Page:
        if asked.arguments["name"] == "a1":
            raise RuntimeError
        return fakes.page(world, asked)

    runner = Runner({"work": Kind(request=dict, handler=work)}, open_page, threads=1)
    submit(runner, world, "a1", "a2")

    assert runner.wait_idle(LONG)
    assert runner.stop(LONG)
    assert work.begun == ["a2"]


def test_what_is_queued_twice_before_it_began_runs_once(
    make_runner: MakeRunner, world: World, work: Work
) -> None:
    asked = accepted(world, "a1", 1)
    runner = make_runner(1)

    runner.submit(asked)
    runner.submit(asked)

    assert runner.wait_idle(LONG)
    assert work.begun == ["a1"]


def test_a_copy_behind_what_is_new_runs_nothing(
    make_runner: MakeRunner, world: World, work: Work
) -> None:
    asked = accepted(world, "a1", 1)
    runner = make_runner(1)

    runner.submit_new(asked)
    runner.submit(asked)

    assert runner.wait_idle(LONG)
    assert work.begun == ["a1"]


def test_what_the_worker_died_in_twice_runs_alone(
    world: World, work: Work, make_runner: MakeRunner, caplog: pytest.LogCaptureFixture
) -> None:
    runner = make_runner(3)
    work.gate("a")
    submit(runner, world, "a")
    work.wait_begun()
    died = Step(number=1, attempt=1, name="disks.attach", started_at=world.now)
    suspect = replace(accepted(world, "b", 2), attempts=1, steps=(died,))
    runner.submit(suspect)
    # Threads of two lanes come to the gate in any order; what comes later is held up.
    assert soon(lambda: f"waits to run alone: operation={suspect.id}" in caplog.text)
    submit(runner, world, "c")
    work.gate("b")
    assert work.begun == ["a"]

    work.gate("a").set()
    work.wait_begun()
    assert work.begun == ["a", "b"]
    work.gate("b").set()
    work.wait_begun()
    assert work.begun == ["a", "b", "c"]


def test_what_it_died_in_once_runs_beside_others(
    world: World, work: Work, make_runner: MakeRunner
) -> None:
    runner = make_runner(2)
    work.gate("a")
    submit(runner, world, "a")
    work.wait_begun()
    died = Step(number=1, attempt=0, name="disks.attach", started_at=world.now)
    asked = accepted(world, "b", 2)
    world.steps[asked.id] = [died]
    runner.submit(replace(asked, steps=(died,)))
    work.wait_begun()
    assert work.begun == ["a", "b"]
