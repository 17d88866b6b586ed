"""Deaths and outages: an operation survives its worker and its database, but not for ever."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests import fakes
from tests.fakes.database import FakeOperationRecord, FakeOperations
from tests.fakes.world import World
from tests.unit import scenes
from tests.unit import test_every_call_fails as matrix
from tests.unit.runs import ASKED, LONG, Handler, fault_of, kind_of, raising, told
from tests.unit.scenes import AT_ONCE, Crash, Trouble, run
from worker.errors import DatabaseUnavailable, OperationExpired
from worker.execution import Page, Patience
from worker.model.ids import OperationId
from worker.model.operation import Fault, Operation, OperationState, StepOutcome
from worker.model.update import Update
from worker.ports import Ports
from worker.rpc.methods import OPERATIONS
from worker.runner import Runner


@pytest.fixture
def world() -> World:
    world = scenes.world()
    scenes.reserve(world)
    return world


def die(world: World) -> None:
    """Run the operation until it kills the worker, in its fourth call."""
    kept = fakes.ports(world).operations.accept(ASKED)[0]
    made = len(world.steps.get(kept.id, ()))
    with pytest.raises(Crash):
        run(world, ASKED, Trouble(at=3 if made == 0 else 0, error=Crash))
    world.crash()


class TestDeath:
    def test_a_death_in_a_step_counts_and_closes_the_step(self, world: World) -> None:
        die(world)

        ended = run(world, ASKED)

        assert (ended.state, ended.attempts) == (OperationState.SUCCEEDED, 1)
        assert StepOutcome.OPEN not in {step.outcome for step in ended.steps}
        assert [step.fault.code for step in ended.steps if step.fault] == ["worker.died"]

    def test_a_death_between_steps_does_not_count(self, world: World) -> None:
        kept = fakes.ports(world).operations.accept(ASKED)[0]
        world.operations[kept.id] = replace(kept, state=OperationState.RUNNING)

        assert run(world, ASKED).attempts == 0

    def test_an_operation_that_kills_its_worker_is_stuck_in_the_end(self, world: World) -> None:
        for _ in range(AT_ONCE.max_attempts):
            die(world)
        handler, calls = raising()

        ended = run(world, ASKED, kind=kind_of(handler))

        message = fault_of(ended, OperationState.STUCK).message
        assert message.startswith("the worker died 5 times in this operation, last in ")
        assert (ended.attempts, calls) == (5, [])

    def test_it_is_so_too_when_the_worker_dies_before_that_is_written(self, world: World) -> None:
        asked = replace(ASKED, state=OperationState.RUNNING, attempts=5)
        handler, calls = raising()

        ended = run(world, asked, kind=kind_of(handler))

        assert fault_of(ended, OperationState.STUCK).message.endswith("times in this operation")
        assert calls == []


class Outage:
    """A database that is away for the next so many ends of operations."""

    def __init__(self, times: int, *, after: bool = False) -> None:
        self.times = times
        self.after = after

    def around(self, write: Callable[[], Operation]) -> Operation:
        away = self.times > 0
        self.times -= away
        if away and not self.after:
            raise DatabaseUnavailable("away")
        kept = write()
        if away:
            raise DatabaseUnavailable("the answer was lost")
        return kept


class AwayRecord(FakeOperationRecord):
    """A page whose last commit fails while the outage lasts."""

    def __init__(self, world: World, operation_id: OperationId, outage: Outage) -> None:
        super().__init__(world, operation_id)
        self.outage = outage

    def end(self, state: OperationState, fault: Fault | None, tell: Update | None) -> Operation:
        return self.outage.around(lambda: super(AwayRecord, self).end(state, fault, tell))


def carry(
    world: World,
    asked: Operation,
    handler: Handler,
    outage: Outage | None = None,
    *,
    new: bool = False,
) -> Operation:
    """Run an operation on a runner of its own, through the outage, and return it."""
    outage = outage or Outage(0)

    def open_page(opened: Operation) -> Page:
        record = AwayRecord(world, opened.id, outage)
        return Page(record=record, ports=fakes.ports(world, opened))

    runner = Runner({asked.method: kind_of(handler)}, open_page, threads=1, patience=AT_ONCE)
    operations = fakes.ports(world).operations
    submit = runner.submit_new if new else runner.submit
    submit(operations.get(operations.accept(asked)[0].id))
    assert runner.wait_idle(LONG)
    assert runner.stop(LONG)
    return operations.get(asked.id)


def through(world: World, asked: Operation, *watches: Trouble) -> Operation:
    """Run an operation of the table on a runner of its own, under the watches; return it."""
    runner = Runner(
        OPERATIONS,
        lambda opened: fakes.page(world, opened, watches),
        threads=1,
        patience=AT_ONCE,
    )
    operations = fakes.ports(world).operations
    runner.submit(operations.accept(asked)[0])
    assert runner.wait_idle(LONG)
    assert runner.stop(LONG)
    return operations.get(asked.id)


class TestOutage:
    def test_an_operation_is_tried_again_until_the_database_is_back(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        away = DatabaseUnavailable("no answer")
        handler, calls = raising(away, away, away)

        ended = carry(world, ASKED, handler)

        assert ended.state is OperationState.SUCCEEDED
        assert len(calls) == 4
        line = f"journal away: operation={ASKED.id} error=no answer"
        assert caplog.messages.count(line) == 3

    def test_its_start_is_told_once(self, world: World) -> None:
        carry(world, ASKED, raising(DatabaseUnavailable())[0])

        assert told(world) == ["instance.volume_attach.start", "instance.volume_attach.end"]

    def test_one_that_could_not_begin_may_have_expired_meanwhile(self, world: World) -> None:
        asked = replace(ASKED, expires_at=world.now + timedelta(seconds=1))

        def outage(_request: object, _ports: Ports) -> None:
            world.crash()
            world.now += timedelta(hours=1)
            raise DatabaseUnavailable

        assert fault_of(carry(world, asked, outage)).code == OperationExpired.code

    def test_one_that_has_begun_does_not_expire_meanwhile(self, world: World) -> None:
        asked = replace(ASKED, expires_at=world.now + timedelta(seconds=1))
        calls: list[int] = []

        def handler(_request: object, _ports: Ports) -> None:
            world.commit()
            world.now += timedelta(hours=1)
            calls.append(1)
            if len(calls) == 1:
                raise DatabaseUnavailable

        assert carry(world, asked, handler).state is OperationState.SUCCEEDED
        assert len(calls) == 2

    def test_an_end_that_was_not_written_is_come_to_again(self, world: World) -> None:
        handler, calls = raising()

        ended = carry(world, ASKED, handler, Outage(2))

        assert ended.state is OperationState.SUCCEEDED
        assert len(calls) == 3

    @pytest.mark.parametrize("new", [False, True])
    def test_an_end_that_was_written_is_the_end_though_its_answer_was_lost(
        self, world: World, *, new: bool
    ) -> None:
        handler, calls = raising()

        ended = carry(world, ASKED, handler, Outage(1, after=True), new=new)

        assert ended.state is OperationState.SUCCEEDED
        assert calls == [1]
        assert told(world).count("instance.volume_attach.end") == 1

    def test_a_death_is_counted_once_however_often_it_is_tried(self, world: World) -> None:
        die(world)

        ended = carry(world, ASKED, raising()[0], Outage(9))

        assert (ended.state, ended.attempts) == (OperationState.SUCCEEDED, 1)

    def test_the_last_death_holds_however_often_it_is_tried(self, world: World) -> None:
        for _ in range(AT_ONCE.max_attempts):
            die(world)
        handler, calls = raising()

        ended = carry(world, ASKED, handler, Outage(3))

        assert (ended.state, ended.attempts) == (OperationState.STUCK, 5)
        assert calls == []

    def test_a_journal_that_is_away_when_it_is_asked_is_asked_again(self, world: World) -> None:
        handler, calls = raising(DatabaseUnavailable())

        class AwayOnce(FakeOperations):
            away = 1

            def get(self, operation: OperationId) -> Operation:
                AwayOnce.away -= 1
                if AwayOnce.away == 0:
                    raise DatabaseUnavailable
                return super().get(operation)

        def open_page(opened: Operation) -> Page:
            ports = replace(fakes.ports(world, opened), operations=AwayOnce(world))
            return Page(record=FakeOperationRecord(world, opened.id), ports=ports)

        kept = fakes.ports(world).operations.accept(ASKED)[0]
        runner = Runner({"attach_volume": kind_of(handler)}, open_page, threads=1, patience=AT_ONCE)
        runner.submit(kept)
        assert runner.wait_idle(LONG)
        assert runner.stop(LONG)
        assert len(calls) == 2
        assert world.operations[ASKED.id].state is OperationState.SUCCEEDED

    @pytest.mark.parametrize("name", matrix.SCENES)
    def test_an_outage_at_any_call_only_delays(self, name: str) -> None:
        scene = matrix.SCENES[name]
        kind = OPERATIONS[scene.asked.method]
        ends = matrix.ends_of(scene, kind)
        for at in range(matrix.calls(scene, kind)):
            for late in (False, True):
                found = scene.start()
                trouble = Trouble(at=at, after=late, error=DatabaseUnavailable)
                ended = through(found, scene.asked, trouble)
                assert ended.state is OperationState.SUCCEEDED
                matrix.check(ends, found, ended)

    @pytest.mark.parametrize("name", matrix.SCENES)
    def test_an_outage_on_the_way_back_only_delays(self, name: str) -> None:
        scene = matrix.SCENES[name]
        kind = OPERATIONS[scene.asked.method]
        ends = matrix.ends_of(scene, kind)
        for at in range(matrix.calls(scene, kind)):
            for away in range(at + 1, at + 8):
                found = scene.start()
                outage = Trouble(at=away, error=DatabaseUnavailable)
                ended = through(found, scene.asked, outage, Trouble(at=at))
                matrix.check(ends, found, ended)

    def test_a_stop_does_not_wait_for_the_database(self, world: World) -> None:
        begun = threading.Event()

        def handler(_request: object, _ports: Ports) -> None:
            begun.set()
            raise DatabaseUnavailable

        patience = Patience(first_pause=LONG, longest_pause=LONG)
        kept = fakes.ports(world).operations.accept(ASKED)[0]
        runner = Runner(
            {"attach_volume": kind_of(handler)},
            lambda opened: fakes.page(world, opened),
            threads=1,
            patience=patience,
        )
        runner.submit(kept)
        assert begun.wait(LONG)

        assert runner.stop(LONG / 2)

        assert not world.operations[ASKED.id].state.ended
