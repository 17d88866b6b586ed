"""An attach that may not begin leaves nothing, wherever it is cut off; nor does a reservation."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import product

import pytest

from tests import fakes
from tests.fakes.volume_service import connection_of
from tests.fakes.world import World
from tests.unit import scenes
from tests.unit import test_every_call_fails as matrix
from tests.unit.scenes import (
    DEVICE,
    INSTANCE,
    OTHER_DEVICE,
    OTHER_INSTANCE,
    OTHER_VOLUME,
    VOLUME,
    Crash,
    Refusing,
    Trouble,
    operation,
    run,
)
from worker.handlers.parts.give_back import released
from worker.handlers.release_block_device import ReleaseBlockDevice, release_block_device
from worker.handlers.retry_operation import RetryOperation, retry_operation
from worker.model.block_device import DeviceStatus
from worker.model.ids import AttachmentId, BlockDeviceId, OperationId
from worker.model.instance import VmState
from worker.model.operation import Operation, OperationState, StepOutcome
from worker.model.swap import Swap
from worker.model.volume import Attachment, AttachmentStatus, VolumeStatus
from worker.rpc.methods import OPERATIONS

GIVEN = matrix.GIVEN
KIND = OPERATIONS["attach_volume"]
ASKED = operation("attach_volume", **scenes.attach_arguments(), attachment_id=GIVEN)
LAPSED = operation("release_lapsed_reservation", number=2, **scenes.attach_arguments())
EXPIRED = replace(ASKED, expires_at=World().now - timedelta(seconds=1))

start = matrix.reserved_with_an_attachment


def blocked() -> World:
    """An earlier attach with the same row waits for an operator."""
    world = start()
    other = replace(ASKED, id=OperationId("stuck"), state=OperationState.STUCK)
    world.operations[other.id] = other
    return world


def rescued() -> World:
    return _with_state(start(), VmState.RESCUED)


def _with_state(world: World, state: VmState) -> World:
    world.instances[INSTANCE] = replace(world.instances[INSTANCE], vm_state=state)
    world.guests[INSTANCE].vm_state = VmState.ACTIVE
    return world


def before() -> World:
    return scenes.world()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An attach that may not begin, and the code that it ends with."""

    code: str
    asked: Operation = ASKED
    start: Callable[[], World] = start
    before: Callable[[], World] = before


REFUSED = {
    "expired": Refused(code="operation.expired", asked=EXPIRED),
    "cancelled": Refused(code="operation.cancelled", asked=replace(ASKED, cancel_requested=True)),
    "blocked": Refused(code="operation.blocked", start=blocked),
    "in rescue": Refused(
        code="instance.rescued",
        start=rescued,
        before=lambda: _with_state(scenes.world(), VmState.RESCUED),
    ),
}


def check(refused: Refused, world: World, ended: Operation) -> None:
    assert not world.pending
    assert ended.state is OperationState.FAILED, ended
    assert ended.fault is not None
    assert ended.fault.code == refused.code
    assert world == refused.before()
    assert world.events().count("block_device.released") == 1
    assert world.events()[-1] == "instance.volume_attach.error"
    assert world.told[-1].block_device is not None


def calls(refused: Refused) -> int:
    trouble = Trouble()
    run(refused.start(), refused.asked, trouble)
    assert trouble.count
    return trouble.count


def places(refused: Refused) -> product:  # type: ignore[type-arg]
    return product(range(calls(refused)), (False, True))


@pytest.mark.parametrize("name", REFUSED)
class TestAnAttachThatMayNotBegin:
    def test_leaves_neither_row_nor_attachment(self, name: str) -> None:
        refused = REFUSED[name]
        world = refused.start()
        ended = run(world, refused.asked)
        check(refused, world, ended)
        assert [step.name for step in ended.steps] == ["attachments.get", "attachments.delete"]

    def test_leaves_none_where_no_attachment_was_named(self, name: str) -> None:
        refused = REFUSED[name]
        arguments = dict(refused.asked.arguments) | {"attachment_id": None}
        world = refused.start()
        ended = run(world, replace(refused.asked, arguments=arguments))
        assert (ended.state, ended.steps) == (OperationState.FAILED, ())
        assert world.rows == {}
        assert list(world.attachments) == [GIVEN]

    def test_is_stuck_and_says_so_where_it_cannot_give_back(self, name: str) -> None:
        refused = REFUSED[name]
        for at, late in places(refused):
            world = refused.start()
            ended = run(world, refused.asked, Trouble(at=at, after=late))
            assert ended.state is OperationState.STUCK
            assert ended.fault is not None
            assert "not taken back" in ended.fault.message
            assert "give" in ended.fault.message.rpartition(": ")[2]
            assert world.rows == {}
            retry_operation(RetryOperation(operation_id=ended.id), fakes.ports(world))
            again = run(world, refused.asked)
            assert again.state is OperationState.FAILED
            assert world == refused.before()

    def test_leaves_nothing_when_the_worker_dies_on_the_way(self, name: str) -> None:
        refused = REFUSED[name]
        for at, late in places(refused):
            world = refused.start()
            trouble = Trouble(at=at, after=late, error=Crash)
            matrix.crash_at(world, refused.asked, trouble, KIND)
            steps = world.steps[refused.asked.id]
            deaths = [step for step in steps if step.outcome is StepOutcome.OPEN]
            ended = run(world, refused.asked)
            assert ended.attempts == len(deaths)
            assert len({step.number for step in ended.steps}) == len(ended.steps)
            assert world == refused.before()
            assert ended.state is OperationState.FAILED

    def test_is_stuck_when_the_worker_dies_each_time(self, name: str) -> None:
        refused = REFUSED[name]
        world = refused.start()
        for _ in range(scenes.AT_ONCE.max_attempts):
            deadly = Refusing("attachments.delete", error=Crash)
            with pytest.raises(Crash):
                run(world, refused.asked, deadly)
            world.crash()
        ended = run(world, refused.asked)
        assert ended.state is OperationState.STUCK
        assert ended.fault is not None
        assert "the worker died 5 times" in ended.fault.message


def test_one_that_may_begin_after_the_worker_died_leaves_nothing_either() -> None:
    world = blocked()
    with pytest.raises(Crash):
        run(world, ASKED, Refusing("attachments.delete", error=Crash))
    world.crash()
    del world.operations[OperationId("stuck")]
    ended = run(world, ASKED)
    assert ended.fault is not None
    assert ended.fault.code == "block_device.wrong_state"
    assert world == scenes.world()


class TestWhatStays:
    def test_a_row_that_another_attach_has_begun_with(self) -> None:
        world = start()
        assert run(world, ASKED).fault is None
        after = world.copy()
        late = replace(EXPIRED, id=OperationId("late"))
        assert run(world, late).state is OperationState.FAILED
        assert world == after

    def test_a_row_whose_attach_has_begun_in_the_same_moment(self) -> None:
        world = start()
        seen = world.rows[DEVICE]
        world.rows[DEVICE] = replace(seen, status=DeviceStatus.ATTACHING)
        assert not released(seen, fakes.ports(world))
        assert DEVICE in world.rows

    def test_an_attachment_that_was_connected(self) -> None:
        world = start()
        held = world.attachments[GIVEN]
        world.attachments[GIVEN] = replace(
            held, status=AttachmentStatus.ATTACHING, connection=connection_of(VOLUME)
        )
        run(world, EXPIRED)
        assert (world.rows, list(world.attachments)) == ({}, [GIVEN])

    @pytest.mark.parametrize(
        "fields", [{"volume": OTHER_VOLUME}, {"instance": OTHER_INSTANCE}, {"instance": None}]
    )
    def test_an_attachment_that_is_anothers(self, fields: dict[str, object]) -> None:
        world = start()
        world.attachments[GIVEN] = replace(world.attachments[GIVEN], **fields)  # type: ignore[arg-type]
        ended = run(world, EXPIRED)
        assert ended.state is OperationState.FAILED
        assert (world.rows, list(world.attachments)) == ({}, [GIVEN])

    def test_an_attachment_that_is_gone_is_nothing_to_do(self) -> None:
        world = start()
        del world.attachments[GIVEN]
        assert run(world, EXPIRED).state is OperationState.FAILED
        assert world.rows == {}

    def test_the_attachment_of_whoever_has_reserved_anew(self) -> None:
        world = start()
        release_block_device(ReleaseBlockDevice(bdm_uuid=DEVICE), fakes.ports(world))
        scenes.reserve(world, uuid=OTHER_DEVICE)
        run(world, EXPIRED)
        assert (list(world.rows), list(world.attachments)) == ([OTHER_DEVICE], [GIVEN])

    def test_the_attachment_of_a_swap_to_the_volume(self) -> None:
        world = start()
        release_block_device(ReleaseBlockDevice(bdm_uuid=DEVICE), fakes.ports(world))
        scenes.reserve(world, volume=OTHER_VOLUME, uuid=OTHER_DEVICE)
        row = world.rows[OTHER_DEVICE]
        world.rows[OTHER_DEVICE] = replace(
            row, swap=Swap(uuid=BlockDeviceId("side"), volume=VOLUME)
        )
        run(world, EXPIRED)
        assert list(world.attachments) == [GIVEN]

    @pytest.mark.parametrize("change", [scenes.taken_over, scenes.released, scenes.importing])
    def test_the_row_of_an_instance_that_is_another_hosts(
        self, change: Callable[[World], None]
    ) -> None:
        world = start()
        change(world)
        run(world, EXPIRED)
        assert (list(world.rows), list(world.attachments)) == ([DEVICE], [GIVEN])

    def test_the_row_of_another_instance(self) -> None:
        world = start()
        world.rows[DEVICE] = replace(world.rows[DEVICE], instance=OTHER_INSTANCE)
        run(world, EXPIRED)
        assert (list(world.rows), list(world.attachments)) == ([DEVICE], [GIVEN])

    def test_what_names_no_row_that_there_ever_was(self) -> None:
        world = start()
        run(world, replace(EXPIRED, arguments={**EXPIRED.arguments, "bdm_uuid": OTHER_DEVICE}))
        assert (list(world.rows), list(world.attachments)) == ([DEVICE], [GIVEN])

    def test_a_local_disk(self) -> None:
        world = start()
        world.rows[DEVICE] = replace(world.rows[DEVICE], volume=None)
        run(world, EXPIRED)
        assert (list(world.rows), list(world.attachments)) == ([DEVICE], [GIVEN])


class TestAReservationThatLapsed:
    def test_goes_with_the_attachment_that_was_to_be_used(self) -> None:
        world = start()
        ended = run(world, LAPSED)
        assert ended.past_commit_point
        assert world == scenes.world()
        assert world.volumes[VOLUME].status is VolumeStatus.AVAILABLE

    def test_stays_while_the_volume_service_does_not_answer(self) -> None:
        world = start()
        ended = run(world, LAPSED, Refusing("attachments.find"))
        assert ended.state is OperationState.FAILED
        assert world == start()

    def test_is_left_to_whoever_was_first(self) -> None:
        world = start()

        def released_meanwhile(name: str) -> Trouble:
            release_block_device(ReleaseBlockDevice(bdm_uuid=DEVICE), fakes.ports(world))
            return Trouble()(name)  # type: ignore[return-value]

        assert run(world, LAPSED, released_meanwhile).fault is None
        assert (world.rows, list(world.attachments)) == ({}, [GIVEN])
        assert world.events().count("block_device.released") == 1

    def test_leaves_the_attachment_of_whoever_has_reserved_anew(self) -> None:
        world = start()
        with pytest.raises(Crash):
            run(world, LAPSED, Refusing("attachments.delete", error=Crash))
        world.crash()
        assert world.rows == {}
        scenes.reserve(world, uuid=OTHER_DEVICE)
        assert run(world, LAPSED).fault is None
        assert (list(world.rows), list(world.attachments)) == ([OTHER_DEVICE], [GIVEN])

    def test_leaves_an_attachment_that_was_connected(self) -> None:
        world = start()
        held = Attachment(
            id=AttachmentId("of the host that it comes from"),
            volume=VOLUME,
            instance=INSTANCE,
            status=AttachmentStatus.ATTACHED,
        )
        world.attachments = {held.id: held}
        assert run(world, LAPSED).fault is None
        assert (world.rows, list(world.attachments)) == ({}, [held.id])
