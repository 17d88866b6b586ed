"""From acceptance to the one end: what may begin, what is tried again, what is said of it."""

import logging
import re
from dataclasses import replace
from datetime import timedelta

import pytest

from tests import fakes
from tests.fakes.database import FakeOperationRecord
from tests.fakes.volume_service import PASSWORD
from tests.fakes.world import World
from tests.unit import scenes
from tests.unit.runs import ASKED, Handler, fault_of, kind_of, raising, told
from tests.unit.scenes import AT_ONCE, DEVICE, OTHER_DEVICE, Crash, Trouble, operation, run
from worker.errors import (
    ConnectFailed,
    GuestBusy,
    LeftBehind,
    OperationBlocked,
    OperationExpired,
    RequestMalformed,
    WorkerError,
)
from worker.execution import Kind, Page, Patience, Scope, carry_out
from worker.model.block_device import BlockDevice
from worker.model.ids import OperationId
from worker.model.operation import Fault, Operation, OperationState
from worker.model.update import Update
from worker.ports import Ports


@pytest.fixture
def world() -> World:
    world = scenes.world()
    scenes.reserve(world)
    return world


def past_commit(inner: Handler) -> Handler:
    def handler(request: object, ports: Ports) -> BlockDevice | None:
        ports.progress.pass_commit_point()
        return inner(request, ports)

    return handler


class TestPatience:
    @pytest.mark.parametrize(
        ("attempt", "seconds"), [(1, 1.0), (2, 2.0), (5, 16.0), (6, 30.0), (60, 30.0)]
    )
    def test_pauses_double_up_to_the_longest(self, attempt: int, seconds: float) -> None:
        assert Patience().pause(attempt) == seconds


class TestBegin:
    def test_an_operation_that_has_expired_never_begins(self, world: World) -> None:
        handler, calls = raising()
        asked = replace(ASKED, expires_at=world.now)

        fault = fault_of(run(world, asked, kind=kind_of(handler)))

        assert fault.code == OperationExpired.code
        assert asked.expires_at is not None
        assert asked.expires_at.isoformat() in fault.message
        assert calls == []
        assert told(world) == ["instance.volume_attach.error"]

    def test_one_that_has_not_expired_begins(self, world: World) -> None:
        asked = replace(ASKED, expires_at=world.now + timedelta(hours=1))

        assert run(world, asked).state is OperationState.SUCCEEDED

    def test_one_that_has_begun_does_not_expire(self, world: World) -> None:
        asked = replace(ASKED, expires_at=world.now + timedelta(seconds=1))
        with pytest.raises(Crash):
            run(world, asked, Trouble(at=3, error=Crash))
        world.crash()
        world.now += timedelta(hours=1)

        assert run(world, asked).state is OperationState.SUCCEEDED

    @pytest.fixture
    def stuck(self, world: World) -> Operation:
        """Another operation, which is stuck on the device."""
        other = replace(ASKED, id=OperationId("stuck"), state=OperationState.STUCK)
        world.operations[other.id] = other
        return other

    def test_a_stuck_operation_blocks_its_device(self, world: World, stuck: Operation) -> None:
        handler, calls = raising()

        fault = fault_of(run(world, ASKED, kind=kind_of(handler)))

        assert fault.code == OperationBlocked.code
        assert stuck.id in fault.message
        assert calls == []

    def test_it_does_not_block_another_device(self, world: World, stuck: Operation) -> None:
        handler, calls = raising()

        run(world, replace(ASKED, block_device=OTHER_DEVICE), kind=kind_of(handler))

        assert calls == [1]

    def test_one_of_a_kind_that_blocks_its_instance_blocks_every_device(
        self, world: World, stuck: Operation
    ) -> None:
        handler, calls = raising()
        other = replace(stuck, method="rescue", block_device=None)
        world.operations[stuck.id] = other
        kinds = {ASKED.method: kind_of(handler), "rescue": blocking_its_instance()}

        fault = fault_of(carried_out(world, replace(ASKED, block_device=OTHER_DEVICE), kinds))

        assert fault.code == OperationBlocked.code
        assert calls == []

    def test_one_that_this_release_does_not_know_blocks_its_instance(
        self, world: World, stuck: Operation
    ) -> None:
        world.operations[stuck.id] = replace(stuck, method="of another release")

        fault = fault_of(run(world, replace(ASKED, block_device=OTHER_DEVICE)))

        assert fault.code == OperationBlocked.code

    def test_a_kind_that_is_unblocked_begins_all_the_same(
        self, world: World, stuck: Operation
    ) -> None:
        handler, calls = raising()

        run(world, ASKED, kind=replace(kind_of(handler), unblocked=True))

        assert calls == [1]

    @pytest.mark.parametrize("missing", ["block_device", "instance"])
    def test_it_does_not_block_what_is_about_no_device(
        self, world: World, stuck: Operation, missing: str
    ) -> None:
        handler, calls = raising()

        run(world, replace(ASKED, **{missing: None}), kind=kind_of(handler))  # type: ignore[arg-type]

        assert calls == [1]

    def test_it_does_not_block_itself_when_it_is_tried_again(
        self, world: World, stuck: Operation
    ) -> None:
        handler, calls = raising()

        kinds = {stuck.method: kind_of(handler)}
        carry_out(stuck_again(stuck), kinds, fakes.page(world, stuck), AT_ONCE)

        assert calls == [1]

    def test_one_that_is_abandoned_blocks_nothing(self, world: World, stuck: Operation) -> None:
        world.operations[stuck.id] = replace(stuck, state=OperationState.ABANDONED)

        assert run(world, ASKED).state is OperationState.SUCCEEDED


def blocking_its_instance() -> Kind:
    return replace(kind_of(raising()[0]), blocks=Scope.INSTANCE)


def carried_out(world: World, asked: Operation, kinds: dict[str, Kind]) -> Operation:
    kept, _ = fakes.ports(world).operations.accept(asked)
    carry_out(kept, kinds, fakes.page(world, kept), AT_ONCE)
    return fakes.ports(world).operations.get(kept.id)


def test_the_deadline_of_the_page_is_kept_from_the_start() -> None:
    world = scenes.world()
    scenes.reserve(world)
    kept, _ = fakes.ports(world).operations.accept(ASKED)
    deadline = world.now + timedelta(minutes=5)
    handler, _ = raising()
    page = replace(fakes.page(world, kept), deadline=deadline)
    carry_out(kept, {ASKED.method: kind_of(handler)}, page, AT_ONCE)

    assert fakes.ports(world).operations.get(kept.id).deadline == deadline


def stuck_again(stuck: Operation) -> Operation:
    """Return the operation as an operator has asked for it again; the journal may lag."""
    return replace(stuck, state=OperationState.QUEUED)


class TestRequest:
    def test_a_handler_is_given_the_arguments_as_they_came(self, world: World) -> None:
        seen: list[object] = []

        def handler(request: object, _ports: Ports) -> None:
            seen.append(request)

        run(world, ASKED, kind=kind_of(handler))

        assert seen == [ASKED.arguments]

    def test_arguments_that_no_longer_fit_fail_the_operation(self, world: World) -> None:
        asked = operation("attach_volume", surprise=1)

        assert fault_of(run(world, asked)).code == "internal"


class TestEnd:
    def test_a_success_is_told_with_the_row(self, world: World) -> None:
        ended = run(world, replace(ASKED, request_id="req-1"))

        assert (ended.state, ended.fault) == (OperationState.SUCCEEDED, None)
        assert told(world) == ["instance.volume_attach.start", "instance.volume_attach.end"]
        end = world.told[-1]
        assert (end.operation, end.request_id) == (ended.id, "req-1")
        assert (end.instance, end.fault) == (scenes.INSTANCE, None)

    def test_a_failure_is_told_with_its_fault_and_the_row_as_it_was(self, world: World) -> None:
        ended = run(world, ASKED, Trouble(at=0))

        error = world.told[-1]
        assert error.fault == ended.fault
        assert error.block_device is not None
        assert error.block_device.uuid == DEVICE

    def test_an_operation_may_name_a_row_that_never_existed(self, world: World) -> None:
        run(world, replace(ASKED, block_device=OTHER_DEVICE), kind=kind_of(raising()[0]))

        assert world.told[-1].block_device is None

    def test_a_kind_without_phases_tells_nothing_unless_it_is_stuck(self, world: World) -> None:
        for number, error in enumerate((None, GuestBusy(), LeftBehind("why")), 1):
            kind = Kind(request=dict, handler=raising(error)[0])
            run(world, replace(ASKED, id=OperationId(f"{number}"), block_device=None), kind=kind)

        assert told(world) == ["operation.stuck"]

    def test_what_is_left_behind_is_stuck_and_told(self, world: World) -> None:
        ended = run(world, ASKED, kind=kind_of(raising(LeftBehind("the disk is still there"))[0]))

        fault = fault_of(ended, OperationState.STUCK)
        assert fault == Fault(code="operation.left_behind", message="the disk is still there")
        assert told(world)[-1] == "operation.stuck"

    def test_an_error_that_nobody_knows_is_internal_and_says_no_secret(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        ended = run(world, ASKED, kind=kind_of(raising(RuntimeError(PASSWORD))[0]))

        fault = fault_of(ended)
        assert fault.code == "internal"
        assert PASSWORD not in repr(ended) + repr(world.told)
        assert f"operation crashed: operation={ended.id}" in caplog.messages

    @pytest.mark.parametrize(
        ("error", "state", "code"),
        [
            (None, "succeeded", "-"),
            (GuestBusy("why"), "failed", "block_device.guest_busy"),
            (LeftBehind("why"), "stuck", "operation.left_behind"),
        ],
    )
    def test_one_line_is_logged_and_this_is_it(
        self,
        world: World,
        caplog: pytest.LogCaptureFixture,
        error: WorkerError | None,
        state: str,
        code: str,
    ) -> None:
        with caplog.at_level(logging.INFO):
            run(world, ASKED, kind=kind_of(raising(error)[0]))

        (line,) = (kept.message for kept in caplog.records if kept.levelno == logging.INFO)
        assert re.sub(r"seconds=\d+\.\d{3}\b", "seconds=S", line) == (
            f"operation ended: operation={ASKED.id} method=attach_volume"
            f" instance={scenes.INSTANCE} device={DEVICE} state={state} seconds=S code={code}"
        )

    def test_the_line_of_what_is_about_no_instance_has_dashes(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO):
            asked = replace(ASKED, instance=None, block_device=None)
            run(world, asked, kind=kind_of(raising()[0]))

        assert " instance=- device=- state=succeeded " in caplog.messages[0]


class TestForward:
    def test_before_the_commit_point_a_failure_is_the_end(self, world: World) -> None:
        handler, calls = raising(ConnectFailed("no"))

        fault_of(run(world, ASKED, kind=kind_of(handler)))

        assert calls == [1]

    def test_past_it_the_operation_is_run_until_it_is_through(self, world: World) -> None:
        handler, calls = raising(ConnectFailed("no"), RuntimeError("odd"), ConnectFailed("no"))

        ended = run(world, ASKED, kind=kind_of(past_commit(handler)))

        assert ended.state is OperationState.SUCCEEDED
        assert calls == [1, 2, 3, 4]

    def test_in_the_end_it_is_stuck_and_says_why_it_did_not_go_back(self, world: World) -> None:
        handler, calls = raising(*[ConnectFailed("no answer")] * 9)

        ended = run(world, ASKED, kind=kind_of(past_commit(handler)))

        message = fault_of(ended, OperationState.STUCK).message
        assert message == "no answer; past its commit point, so it can only go forward"
        assert len(calls) == AT_ONCE.max_attempts

    def test_an_unknown_error_past_it_is_logged_and_not_told(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        handler, _ = raising(*[RuntimeError(PASSWORD)] * 9)

        ended = run(world, ASKED, kind=kind_of(past_commit(handler)))

        assert PASSWORD not in fault_of(ended, OperationState.STUCK).message
        assert caplog.messages.count(f"operation crashed: operation={ended.id}") == 5

    def test_what_cannot_be_taken_back_is_not_run_again(self, world: World) -> None:
        handler, calls = raising(LeftBehind("why"))

        ended = run(world, ASKED, kind=kind_of(past_commit(handler)))

        assert ended.state is OperationState.STUCK
        assert calls == [1]

    def test_a_later_worker_goes_forward_too(self, world: World) -> None:
        handler, calls = raising(ConnectFailed("no"))
        asked = replace(ASKED, state=OperationState.RUNNING, past_commit_point=True)

        assert run(world, asked, kind=kind_of(handler)).state is OperationState.SUCCEEDED
        assert calls == [1, 2]


class RefusingOnce(FakeOperationRecord):
    """A page whose end the database refuses once, for what it says."""

    refused = False

    def end(self, state: OperationState, fault: Fault | None, tell: Update | None) -> Operation:
        if not self.refused:
            self.refused = True
            raise RequestMalformed("value too long")
        return super().end(state, fault, tell)


def test_an_end_that_the_database_refuses_is_stuck_and_says_so(world: World) -> None:
    kept, _ = fakes.ports(world).operations.accept(ASKED)
    handler, _ = raising()
    page = Page(record=RefusingOnce(world, kept.id), ports=fakes.ports(world, kept))
    carry_out(kept, {ASKED.method: kind_of(handler)}, page, AT_ONCE)

    ended = fakes.ports(world).operations.get(kept.id)
    fault = fault_of(ended, OperationState.STUCK)
    assert fault.code == LeftBehind.code
    assert "value too long" in fault.message
    assert told(world)[-1] == "operation.stuck"
