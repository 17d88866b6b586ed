"""The two ways out of stuck: run it again, or give it up; what becomes of the device."""

import copy
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit import scenes
from tests.unit.runs import ASKED, LONG
from tests.unit.scenes import (
    AT_ONCE,
    DEVICE,
    INSTANCE,
    OPERATION,
    VOLUME,
    Refusing,
    Trouble,
    operation,
    run,
)
from worker.errors import HypervisorUnavailable, OperationNotFound, OperationWrongState
from worker.handlers.abandon_operation import AbandonOperation, abandon_operation
from worker.handlers.retry_operation import RetryOperation, retry_operation
from worker.model.block_device import DeviceStatus
from worker.model.ids import OperationId
from worker.model.operation import Operation, OperationState
from worker.model.update import Event
from worker.ports import Ports
from worker.rpc.methods import CALLS, OPERATIONS
from worker.runner import Runner
from worker.steps import wrap_outside

COMPLETE = 9
"""Which call of an attach reports the volume as in use: the last."""

ENDED_OR_UNDER_WAY = [state for state in OperationState if state is not OperationState.STUCK]


@pytest.fixture
def world() -> World:
    """A world in which an attach is stuck: the guest keeps the disk that is to be taken back."""
    world = scenes.world()
    scenes.reserve(world)
    assert run(world, ASKED, Trouble(at=COMPLETE), Refusing("disks.unplug")).state == "stuck"
    return world


def retry(world: World, operation_id: OperationId = OPERATION) -> Operation:
    return retry_operation(RetryOperation(operation_id=operation_id), fakes.ports(world))


def abandon(world: World, ports: Ports | None = None) -> dict[str, Any]:
    request = AbandonOperation(operation_id=OPERATION)
    found: dict[str, Any] = CALLS["abandon_operation"].handler(request, ports or fakes.ports(world))
    return found


def clear_up(world: World) -> str:
    """Take the disk out of the guest, as an operator would; return its alias."""
    alias = world.rows[DEVICE].alias
    del world.guests[INSTANCE].live[alias]
    del world.guests[INSTANCE].persistent[alias]
    return alias


class TestRetry:
    def test_it_is_unfinished_again_and_goes_on_where_it_stands(self, world: World) -> None:
        stuck = fakes.ports(world).operations.get(OPERATION)

        reopened = retry(world)

        assert (reopened.state, reopened.attempts) == (OperationState.RUNNING, 0)
        assert (reopened.fault, reopened.ended_at) == (None, None)
        assert reopened.steps == stuck.steps
        assert fakes.ports(world).operations.unfinished() == (reopened,)

    def test_run_again_it_goes_through_and_is_told_once_more_at_its_end(self, world: World) -> None:
        retry(world)

        ended = run(world, ASKED)

        assert ended.state is OperationState.SUCCEEDED
        assert world.rows[DEVICE].status is DeviceStatus.ATTACHED
        assert world.events()[-2:] == ["operation.stuck", "instance.volume_attach.end"]
        assert world.events().count("instance.volume_attach.start") == 1

    def test_attempts_begin_anew_so_that_too_many_deaths_are_no_end(self, world: World) -> None:
        world.operations[OPERATION] = replace(world.operations[OPERATION], attempts=5)

        assert retry(world).attempts == 0
        assert run(world, ASKED).state is OperationState.SUCCEEDED

    def test_past_its_commit_point_it_only_goes_forward(self) -> None:
        world = scenes.world()
        scenes.attach(world)
        asked = operation("detach_volume", **scenes.detach_arguments())
        assert run(world, asked, Refusing("connector.disconnect")).state == "stuck"

        assert retry(world).past_commit_point
        assert run(world, asked, Trouble(at=0)).state is OperationState.SUCCEEDED
        assert world == scenes.world()

    def test_it_does_not_expire_since_it_has_begun(self, world: World) -> None:
        world.operations[OPERATION] = replace(world.operations[OPERATION], expires_at=world.now)

        retry(world)

        assert run(world, ASKED).state is OperationState.SUCCEEDED

    def test_one_that_never_began_is_queued(self, world: World) -> None:
        world.operations[OPERATION] = replace(world.operations[OPERATION], started_at=None)

        assert retry(world).state is OperationState.QUEUED

    def test_it_may_be_stuck_again_and_says_so_anew(self, world: World) -> None:
        retry(world)
        again = len(world.steps[OPERATION])

        ended = run(world, ASKED, Refusing("attachments.complete"), Refusing("disks.unplug"))

        assert ended.state is OperationState.STUCK
        assert len(ended.steps) > again
        assert retry(world).state is OperationState.RUNNING

    @pytest.mark.parametrize("state", ENDED_OR_UNDER_WAY)
    def test_what_is_not_stuck_is_refused_and_left_alone(
        self, world: World, state: OperationState
    ) -> None:
        world.operations[OPERATION] = replace(world.operations[OPERATION], state=state)
        before = copy.deepcopy(world.operations)

        with pytest.raises(OperationWrongState, match=f"is {state}, not stuck"):
            retry(world)
        with pytest.raises(OperationWrongState, match=f"is {state}, not stuck"):
            abandon(world)

        assert world.operations == before

    def test_what_does_not_exist_is_not_found(self, world: World) -> None:
        with pytest.raises(OperationNotFound):
            retry(world, OperationId("none"))


class TestAbandon:
    def test_its_end_has_its_line_in_the_log(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO):
            abandon(world)

        (line,) = [record.getMessage() for record in caplog.records]
        assert line.startswith(f"operation ended: operation={OPERATION} method=attach_volume")
        assert "state=abandoned" in line

    def test_a_row_whose_disk_is_gone_is_removed(self, world: World) -> None:
        alias = clear_up(world)
        attachment = world.rows[DEVICE].attachment

        answer = abandon(world)

        assert (answer["operation_id"], answer["state"]) == (OPERATION, "abandoned")
        assert answer["message"] == (
            f"block device {DEVICE} is removed: the guest has no {alias};"
            f" left as it is: attachment {attachment}, the record that this host is connected"
        )
        assert DEVICE not in world.rows
        assert DEVICE in world.connections

    def test_what_is_cleared_up_everywhere_is_not_named(self, world: World) -> None:
        alias = clear_up(world)
        world.rows[DEVICE] = replace(world.rows[DEVICE], attachment=None)
        world.connections.clear()

        assert abandon(world)["message"].endswith(f"the guest has no {alias}")

    def test_a_strangers_disk_under_our_alias_is_not_the_rows(self, world: World) -> None:
        alias = world.rows[DEVICE].alias
        guest = world.guests[INSTANCE]
        for layout in (guest.live, guest.persistent):
            layout[alias] = replace(layout[alias], target="vdz")

        abandon(world)

        assert DEVICE not in world.rows
        assert alias in guest.live

    @pytest.mark.parametrize("layout", ["live", "persistent"])
    def test_a_row_whose_disk_is_in_either_layout_is_attached(
        self, world: World, layout: str
    ) -> None:
        alias = world.rows[DEVICE].alias
        del getattr(world.guests[INSTANCE], layout)[alias]

        answer = abandon(world)

        assert answer["message"] == f"block device {DEVICE} is attached: the guest has {alias}"
        assert world.rows[DEVICE].status is DeviceStatus.ATTACHED

    @pytest.mark.parametrize("status", [DeviceStatus.ATTACHING, DeviceStatus.DETACHING])
    def test_what_was_on_its_way_is_decided_too(self, world: World, status: DeviceStatus) -> None:
        world.rows[DEVICE] = replace(world.rows[DEVICE], status=status)

        abandon(world)

        assert world.rows[DEVICE].status is DeviceStatus.ATTACHED

    @pytest.mark.parametrize(
        "status", [DeviceStatus.RESERVED, DeviceStatus.ATTACHED, DeviceStatus.MISSING]
    )
    def test_a_row_that_says_what_is_true_stays(self, world: World, status: DeviceStatus) -> None:
        world.rows[DEVICE] = replace(world.rows[DEVICE], status=status)
        clear_up(world)

        assert abandon(world)["message"] == f"block device {DEVICE} stays {status}"
        assert world.rows[DEVICE].status is status

    def test_a_domain_that_is_gone_has_no_disk(self, world: World) -> None:
        del world.guests[INSTANCE]

        abandon(world)

        assert world.rows == {}

    def test_the_device_is_free_again(self, world: World) -> None:
        assert world.rows[DEVICE].status is DeviceStatus.ERROR
        abandon(world)

        asked = operation("detach_volume", 2, **scenes.detach_arguments())
        assert run(world, asked).state is OperationState.SUCCEEDED
        assert world == scenes.world()

    def test_it_is_told_as_the_error_that_it_was_with_the_row_as_it_is_now(
        self, world: World
    ) -> None:
        fault = world.operations[OPERATION].fault
        world.operations[OPERATION] = replace(world.operations[OPERATION], request_id="req-1")

        answer = abandon(world)

        told = world.told[-1]
        assert (told.event, told.fault) == (Event.VOLUME_ATTACH_ERROR, fault)
        assert (told.operation, told.instance, told.request_id) == (OPERATION, INSTANCE, "req-1")
        assert told.block_device is not None
        assert told.block_device.status is DeviceStatus.ATTACHED
        assert fault is not None
        assert answer["fault"] == {"code": fault.code, "message": fault.message}

    def test_while_the_guest_cannot_be_seen_nothing_is_decided(self, world: World) -> None:
        before = copy.deepcopy(world)
        blind = wrap_outside(fakes.ports(world), _unseen)

        with pytest.raises(HypervisorUnavailable):
            abandon(world, blind)

        assert world == before
        assert world.operations == before.operations
        assert (world.pending, len(world.told)) == ([], len(before.told))

    def test_a_row_that_was_removed_before_is_left_alone(self, world: World) -> None:
        ports = fakes.ports(world)
        ports.devices.remove(world.rows[DEVICE])
        world.commit()

        assert abandon(world)["message"] == f"block device {DEVICE} was removed before"

    @pytest.mark.parametrize("device", [None, VOLUME])
    def test_what_is_about_no_row_is_ended_all_the_same(
        self, world: World, device: str | None
    ) -> None:
        stuck = replace(world.operations[OPERATION], block_device=device)  # type: ignore[arg-type]
        world.operations[OPERATION] = replace(stuck, method="delete_volume")
        told = len(world.told)

        assert abandon(world)["message"] == "no block device was held"
        assert world.operations[OPERATION].state is OperationState.ABANDONED
        assert len(world.told) == told

    def test_the_handler_is_asked_for_the_phases_of_the_method(self, world: World) -> None:
        asked: list[str] = []

        def phases_of(method: str) -> None:
            asked.append(method)

        request = AbandonOperation(operation_id=OPERATION)
        abandon_operation(request, fakes.ports(world), phases_of=phases_of)

        assert asked == ["attach_volume"]
        assert OPERATIONS["attach_volume"].phases is not None


def _unseen(name: str, _call: object) -> None:
    raise HypervisorUnavailable(name)


@pytest.fixture
def runner(world: World) -> Iterator[Runner]:
    found = Runner(OPERATIONS, lambda asked: fakes.page(world, asked), threads=1, patience=AT_ONCE)
    yield found
    assert found.stop(LONG)


class TestRunner:
    def test_what_is_retried_runs_in_its_lane(self, world: World, runner: Runner) -> None:
        runner.submit(retry(world))
        assert runner.wait_idle(LONG)

        assert world.operations[OPERATION].state is OperationState.SUCCEEDED

    def test_what_is_queued_twice_has_one_end(self, world: World, runner: Runner) -> None:
        reopened = retry(world)
        runner.submit(reopened)
        runner.submit(reopened)
        assert runner.wait_idle(LONG)

        assert world.events().count("instance.volume_attach.end") == 1
