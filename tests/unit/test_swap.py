"""Swap: a guest goes on with another volume as the same disk, or all is as before."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit import opened_scenes, rescue_scenes, scenes, swap_scenes
from tests.unit.runs import fault_of
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
from tests.unit.swap_scenes import GIVEN, asked, attached, given
from worker.errors import (
    DatabaseUnavailable,
    OperationWrongState,
    Stopped,
    VolumeAlreadyAttached,
)
from worker.handlers.abandon_operation import AbandonOperation
from worker.handlers.cancel_operation import CancelOperation
from worker.handlers.find_drift import FindDrift, find_drift
from worker.model.block_device import BlockDevice, DeviceStatus, DeviceType
from worker.model.ids import VolumeId
from worker.model.instance import VmState
from worker.model.operation import Operation, OperationState
from worker.model.swap_sides import other_side, side_of, turned, with_side
from worker.model.update import Event
from worker.model.volume import AttachmentStatus, VolumeStatus
from worker.rpc.methods import CALLS
from worker.steps import LOOKS

ALIAS = f"ua-{VOLUME}"


def row_of(world: World) -> BlockDevice:
    return world.rows[DEVICE]


def refused(world: World, wanted: Operation) -> str:
    """Return the code; nothing was touched."""
    before = world.copy()
    code = fault_of(run(world, wanted)).code
    assert world == before
    assert {step.name for step in world.steps.get(wanted.id, ())} <= LOOKS
    return code


def cancel(world: World, wanted: Operation) -> None:
    request = CancelOperation(operation_id=wanted.id)
    CALLS["cancel_operation"].handler(request, fakes.ports(world))


def swapped(world: World) -> Operation:
    ended = run(world, asked())
    assert ended.state is OperationState.SUCCEEDED, ended.fault
    assert not world.harm
    return ended


class At:
    """A watch that does something once, around the call of that name."""

    def __init__(self, name: str, act: object, *, error: BaseException | None = None) -> None:
        self.name, self.act, self.error = name, act, error

    def __call__(self, name: str) -> AbstractContextManager[None]:
        if name == self.name and self.act is not None:
            act, self.act = self.act, None
            assert callable(act)
            act()
            if self.error is not None:
                raise self.error
        return nullcontext()


def test_all_of_the_disk_stays_but_its_volume() -> None:
    world = attached()
    before = row_of(world)
    ended = swapped(world)
    after = row_of(world)
    new = next(iter(world.attachments.values()))
    assert (new.volume, new.status) == (OTHER_VOLUME, AttachmentStatus.ATTACHED)
    assert after == replace(
        before,
        volume=OTHER_VOLUME,
        volume_size=2,
        attachment=new.id,
        connection=after.connection,
        updated_at=after.updated_at,
    )
    for layout in (world.guests[INSTANCE].live, world.guests[INSTANCE].persistent):
        assert layout[ALIAS].source.name == f"/dev/{OTHER_VOLUME}"
    assert world.connected == {OTHER_VOLUME}
    assert list(world.connections) == [DEVICE]
    assert world.volumes[VOLUME].status is VolumeStatus.AVAILABLE
    assert (ended.progress, ended.past_commit_point) == (100, True)


def test_it_is_told_how_far_it_is() -> None:
    world = attached()
    swapped(world)
    told = [(update.event, update.percent) for update in world.told[-4:]]
    assert told == [
        (Event.VOLUME_SWAP_START, None),
        (Event.VOLUME_SWAP_PROGRESS, 50),
        (Event.VOLUME_SWAP_PROGRESS, 100),
        (Event.VOLUME_SWAP_END, None),
    ]


def test_the_journal_has_no_step_for_each_look_at_the_copy() -> None:
    world = attached()
    ended = swapped(world)
    names = [step.name for step in world.steps[ended.id]]
    assert "block_copies.look" not in names
    assert names.count("block_copies.begin") == 1


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"status": VolumeStatus.IN_USE}, "volume.in_use"),
        ({"size": 1}, "volume.too_small"),
        ({"encrypted": True}, "volume.encryption_unsupported"),
    ],
)
def test_a_volume_that_cannot_take_the_place_is_refused(
    wanted: dict[str, object], code: str
) -> None:
    world = attached()
    changed = replace(world.volumes[OTHER_VOLUME], **wanted)  # type: ignore[arg-type]
    world.volumes[OTHER_VOLUME] = changed
    assert refused(world, asked()) == code


def test_encrypted_volumes_are_of_one_size() -> None:
    world = swap_scenes.guarded()
    larger = replace(world.volumes[OTHER_VOLUME], size=world.volumes[VOLUME].size * 2)
    world.volumes[OTHER_VOLUME] = larger
    assert refused(world, asked()) == "volume.encryption_unsupported"


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"status": DeviceStatus.MISSING}, "block_device.wrong_state"),
        ({"device_type": DeviceType.LUN}, "block_device.type_unsupported"),
        ({"volume": None}, "block_device.no_volume"),
        ({"instance": OTHER_INSTANCE}, "block_device.wrong_state"),
    ],
)
def test_a_row_that_cannot_be_swapped_is_refused(row: dict[str, object], code: str) -> None:
    world = attached()
    world.rows[DEVICE] = replace(row_of(world), **row)  # type: ignore[arg-type]
    assert refused(world, asked()) == code


def test_a_row_that_is_gone_is_refused() -> None:
    world = attached()
    run(world, operation("detach_volume", number=3, **scenes.detach_arguments()))
    assert refused(world, asked()) == "block_device.wrong_state"


@pytest.mark.parametrize("volume", [VOLUME, OTHER_VOLUME])
def test_a_volume_is_on_an_instance_once(volume: VolumeId) -> None:
    world = attached()
    scenes.attach(world, OTHER_VOLUME, OTHER_DEVICE)
    assert refused(world, asked(new_volume_id=volume)) == VolumeAlreadyAttached.code


def test_a_volume_that_another_guest_has_too_is_refused() -> None:
    world = scenes.shared()
    scenes.attach(world)
    assert refused(world, asked()) == "volume.in_use"


def test_a_guest_that_is_off_or_in_rescue_is_refused() -> None:
    world = attached()
    world.guests[INSTANCE].vm_state = VmState.STOPPED
    assert refused(world, asked()) == "instance.wrong_state"
    rescued = rescue_scenes.rescued_from_volume()
    row = next(row for row in rescued.rows.values() if not row.local)
    rescued.settings = replace(rescued.settings, device_operations=True)
    free = scenes.world().volumes[OTHER_VOLUME]
    rescued.volumes[free.id] = replace(free, size=1 << 50)
    assert refused(rescued, asked(bdm_uuid=row.uuid)) == "instance.rescued"


@pytest.mark.parametrize("layout", ["live", "persistent"])
def test_a_disk_without_its_alias_is_refused(layout: str) -> None:
    world = attached()
    shown = getattr(world.guests[INSTANCE], layout)
    shown["other"] = replace(shown.pop(ALIAS), alias="")
    assert refused(world, asked()) == "block_device.wrong_state"


def test_an_attachment_that_was_given_goes_with_a_refusal_unless_a_row_has_it() -> None:
    world = given()
    world.volumes[OTHER_VOLUME] = replace(world.volumes[OTHER_VOLUME], size=1)
    run(world, asked(new_attachment_id=GIVEN))
    assert GIVEN not in world.attachments
    held = row_of(world).attachment
    run(world, asked(number=2, new_attachment_id=held))
    assert held in world.attachments


def test_a_copy_that_ends_before_it_is_whole_leaves_all_as_before() -> None:
    world = attached()
    before = world.copy()
    guest = world.guests[INSTANCE]
    calls = iter(range(10))

    def losing(name: str) -> AbstractContextManager[None]:
        if name == "block_copies.look" and next(calls) == 2:
            guest.copies.clear()
        return nullcontext()

    ended = run(world, asked(), losing)
    assert fault_of(ended).code == "hypervisor.refused"
    assert world == before


def test_a_guest_that_went_over_in_a_call_that_failed_is_past_the_commit_point() -> None:
    world = attached()
    trouble = Trouble(at=0, after=True)
    ended = run(
        world, asked(), lambda name: trouble(name) if name.endswith("pivot") else nullcontext()
    )
    assert ended.state is OperationState.SUCCEEDED, ended.fault
    assert ended.past_commit_point
    assert row_of(world).volume == OTHER_VOLUME


def test_what_cannot_be_taken_back_is_stuck_with_both_sides_named() -> None:
    world = attached()
    ended = run(world, asked(), Refusing("block_copies.pivot"), Refusing("block_copies.abort"))
    assert ended.state is OperationState.STUCK
    row = row_of(world)
    assert (row.status, row.volume) == (DeviceStatus.ERROR, VOLUME)
    assert other_side(row).volume == OTHER_VOLUME
    assert world.connected == {VOLUME, OTHER_VOLUME}
    request = AbandonOperation(operation_id=ended.id)
    said = CALLS["abandon_operation"].handler(request, fakes.ports(world))
    assert "is attached" in said["message"]
    assert run(world, asked(number=5, new_volume_id=VolumeId("0" * 36))).fault is not None
    again = run(world, asked(number=6))
    assert again.state is OperationState.SUCCEEDED, again.fault
    assert row_of(world).swap is None
    assert world.connected == {OTHER_VOLUME}


def given_up(world: World) -> None:
    ended = run(world, asked(), Refusing("block_copies.pivot"), Refusing("block_copies.abort"))
    request = AbandonOperation(operation_id=ended.id)
    CALLS["abandon_operation"].handler(request, fakes.ports(world))
    world.guests[INSTANCE].copies.clear()


def test_a_detach_lets_go_of_both_sides_of_a_swap_that_was_given_up() -> None:
    world = attached()
    given_up(world)
    run(world, operation("detach_volume", number=7, **scenes.detach_arguments()))
    assert world.connected == set()
    assert world.attachments == {}
    assert world.connections == {}
    assert not world.harm


def test_the_other_side_of_a_swap_is_no_drift_and_is_not_reserved() -> None:
    world = attached()
    given_up(world)
    found = find_drift(FindDrift(instance_uuid=INSTANCE), fakes.ports(world))
    kinds = [each["kind"] for each in found["differences"]]
    assert (kinds, found["foreign"]) == (["volume_detaching"], 0)
    with pytest.raises(VolumeAlreadyAttached):
        scenes.reserve(world, OTHER_VOLUME, OTHER_DEVICE)


def test_a_worker_that_stops_leaves_the_copy_to_the_next() -> None:
    world = attached()

    def stopping(name: str) -> AbstractContextManager[None]:
        if name == "block_copies.look" and world.guests[INSTANCE].copies:
            raise Stopped
        return nullcontext()

    with pytest.raises(Stopped):
        run(world, asked(), stopping)
    assert world.guests[INSTANCE].copies
    world.crash()
    ended = run(world, asked())
    assert (ended.state, ended.attempts) == (OperationState.SUCCEEDED, 1)


def test_a_copy_is_cancelled_and_all_is_as_before() -> None:
    world = attached()
    before = world.copy()
    wanted = asked()
    ended = run(world, wanted, At("attachments.create", lambda: cancel(world, wanted)))
    assert fault_of(ended).code == "operation.cancelled"
    assert world == before
    assert world.events()[-1] == "instance.volume_swap.error"


def test_what_is_queued_is_cancelled_before_it_begins() -> None:
    world = attached()
    before = world.copy()
    wanted = operation("detach_volume", number=9, **scenes.detach_arguments())
    fakes.ports(world).operations.accept(wanted)
    cancel(world, wanted)
    ended = run(world, wanted)
    assert (fault_of(ended).code, ended.started_at) == ("operation.cancelled", None)
    assert world == before


def test_a_swap_that_was_to_be_cancelled_before_its_worker_died_is() -> None:
    world = attached()
    before = world.copy()
    wanted = asked()
    with pytest.raises(Crash):
        run(world, wanted, At("block_copies.begin", lambda: cancel(world, wanted), error=Crash()))
    world.crash()
    assert fault_of(run(world, wanted)).code == "operation.cancelled"
    assert world == before


@pytest.mark.parametrize("call", ["attachments.complete", "connector.disconnect"])
def test_a_guest_that_went_over_is_not_called_back(call: str) -> None:
    world = attached()
    wanted = asked()

    def late() -> None:
        with pytest.raises(OperationWrongState):
            cancel(world, wanted)

    ended = run(world, wanted, At(call, late))
    assert ended.state is OperationState.SUCCEEDED


def test_what_runs_and_is_no_copy_is_not_cancelled() -> None:
    world = scenes.world()
    scenes.reserve(world)
    wanted = operation("attach_volume", **scenes.attach_arguments())

    def late() -> None:
        with pytest.raises(OperationWrongState):
            cancel(world, wanted)

    assert run(world, wanted, At("disks.attach", late)).fault is None
    with pytest.raises(OperationWrongState):
        cancel(world, wanted)


def test_secrets_are_gone_at_the_end_and_the_disk_finds_its_own_at_a_later_start() -> None:
    world = swap_scenes.guarded()
    swapped(world)
    assert world.secrets == {}
    kept = world.guests[INSTANCE].persistent[ALIAS]
    assert kept.secret_usage is not None
    assert kept.secret_usage.endswith(DEVICE)


def test_an_adopted_volume_without_attachment_is_let_go_of() -> None:
    world = attached()
    world.attachments.clear()
    world.rows[DEVICE] = replace(row_of(world), attachment=None, connection=None)
    ended = run(world, asked(), Refusing("volumes.roll_detaching"))
    assert ended.state is OperationState.SUCCEEDED, ended.fault
    assert world.volumes[VOLUME].status is VolumeStatus.DETACHING


def test_a_row_without_another_side_is_its_own() -> None:
    world = attached()
    row, volume = row_of(world), world.volumes[OTHER_VOLUME]
    assert other_side(row) is row
    assert side_of(row, OTHER_VOLUME) is row
    assert turned(row, volume) is row
    assert with_side(row, replace(row, attachment=None)).attachment is None
    assert opened_scenes.guarded().guarded == {VOLUME}


def test_a_copy_that_was_gone_over_to_meanwhile_is_not_gone_over_to_again() -> None:
    world = attached()
    seen = iter(range(10))

    def elsewhere(name: str) -> AbstractContextManager[None]:
        if name == "block_copies.look" and next(seen) == 3:
            copies = fakes.ports(world).block_copies
            copies.pivot(INSTANCE, ALIAS, f"/dev/{OTHER_VOLUME}")
        return nullcontext()

    ended = run(world, asked(), elsewhere, Refusing("block_copies.pivot"))
    assert ended.state is OperationState.SUCCEEDED, ended.fault


@pytest.mark.parametrize("call", ["volumes.begin_detaching", "block_copies.begin"])
def test_without_the_database_nothing_is_taken_back(call: str) -> None:
    world = attached()
    away = At(call, lambda: None, error=DatabaseUnavailable("away"))
    with pytest.raises(DatabaseUnavailable):
        run(world, asked(), away)
    world.crash()
    assert run(world, asked()).state is OperationState.SUCCEEDED


def test_a_way_back_waits_for_the_database() -> None:
    world = attached()
    away = At("volumes.roll_detaching", lambda: None, error=DatabaseUnavailable("away"))
    with pytest.raises(DatabaseUnavailable):
        run(world, asked(), Refusing("block_copies.begin"), away)
    world.crash()
    assert run(world, asked()).state is OperationState.SUCCEEDED


def test_what_was_done_and_not_ended_is_ended_as_it_is() -> None:
    """The worker died between the last step and the operation's end."""
    world = attached()
    trouble = Trouble(at=0, after=True, error=lambda _name: Crash())
    with pytest.raises(Crash):
        run(
            world,
            asked(),
            lambda name: trouble(name) if name == "attachments.delete" else nullcontext(),
        )
    assert run(world, asked()).state is OperationState.SUCCEEDED
    row = row_of(world)
    again = replace(world.operations[asked().id], state=OperationState.RUNNING)
    world.operations[again.id] = again
    assert run(world, asked()).state is OperationState.SUCCEEDED
    assert row_of(world) == row


def test_a_volume_service_that_is_away_at_the_begin_is_no_reason_to_wait() -> None:
    world = attached()
    ended = run(world, asked(), Refusing("volumes.begin_detaching"))
    assert ended.state is OperationState.SUCCEEDED, ended.fault


def test_a_second_run_that_fails_finds_nothing_to_end() -> None:
    """The first one died before the new volume was connected."""
    world = attached()
    before = world.copy()
    crash = At("connector.connect", lambda: None, error=Crash())
    with pytest.raises(Crash):
        run(world, asked(), crash)
    world.crash()
    ended = run(world, asked(), Refusing("connector.connect"))
    assert fault_of(ended).code == "connector.failed"
    assert world == before


def test_a_host_that_was_booted_meanwhile_has_no_copy_to_end() -> None:
    world = attached()
    with pytest.raises(Crash):
        run(world, asked(), At("block_copies.pivot", lambda: None, error=Crash()))
    world.crash()
    world.guests[INSTANCE].copies.clear()
    world.connected.discard(OTHER_VOLUME)
    ended = run(world, asked(), Refusing("volumes.show"))
    assert ended.state is OperationState.FAILED
    assert row_of(world).swap is None
    assert list(world.connections) == [DEVICE]


def test_each_side_has_its_record_until_the_old_one_is_let_go_of() -> None:
    world = attached()
    seen: dict[str, str] = {}

    def look() -> None:
        seen.update(
            {key: kept.properties["device_path"] for key, kept in world.connections.items()}
        )

    run(world, asked(), At("attachments.complete", look))
    assert seen.pop(DEVICE) == f"/dev/{OTHER_VOLUME}"
    assert list(seen.values()) == [f"/dev/{VOLUME}"]


def test_a_swap_is_cancelled_until_the_guest_is_told_to_go_over() -> None:
    world = attached()
    before = world.copy()
    wanted = asked()

    def late(name: str) -> AbstractContextManager[None]:
        if name == "block_copies.look" and world.guests[INSTANCE].copied.get(ALIAS) == 100:
            cancel(world, wanted)
        return nullcontext()

    assert fault_of(run(world, wanted, late)).code == "operation.cancelled"
    assert world == before


@pytest.mark.parametrize("call", ["volumes.show", "attachments.find", "connector.connect"])
def test_what_goes_on_after_the_guest_went_over_takes_nothing_from_it(call: str) -> None:
    """An operator gave the first swap up, which had only the old volume to let go of."""
    world = attached()
    ended = run(world, asked(), Refusing("attachments.complete"))
    assert ended.state is OperationState.STUCK
    request = AbandonOperation(operation_id=ended.id)
    CALLS["abandon_operation"].handler(request, fakes.ports(world))
    before = world.copy()
    again = run(world, asked(number=2), Refusing(call))
    assert (again.state, again.past_commit_point) == (OperationState.STUCK, True)
    assert world.attachments == before.attachments
    assert world.connected == before.connected
    assert row_of(world).swap is not None
    CALLS["abandon_operation"].handler(AbandonOperation(operation_id=again.id), fakes.ports(world))
    assert run(world, asked(number=3)).state is OperationState.SUCCEEDED
    assert world.connected == {OTHER_VOLUME}
