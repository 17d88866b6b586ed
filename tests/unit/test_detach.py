"""Detach: what it undoes, what it leaves when the guest refuses, whom it means."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests import fakes
from tests.fakes.volume_service import FakeConnector
from tests.fakes.world import World
from tests.unit import scenes
from tests.unit.scenes import (
    DEVICE,
    INSTANCE,
    OTHER_DEVICE,
    OTHER_VOLUME,
    VOLUME,
    Refusing,
    Trouble,
    operation,
    run,
)
from worker.errors import (
    AttachmentMismatch,
    BlockDeviceNotFound,
    DatabaseUnavailable,
    DeviceAmbiguous,
    DeviceSuperseded,
    DeviceWrongState,
    GuestBusy,
    HypervisorUnavailable,
    InstanceNotFound,
    InstanceWrongState,
    WorkerError,
)
from worker.handlers.detach_volume import DetachVolume, detach_volume, name_the_row
from worker.model.block_device import DeviceStatus
from worker.model.connection import Connection
from worker.model.ids import AttachmentId
from worker.model.instance import VmState
from worker.model.operation import Operation, OperationState
from worker.model.volume import VolumeStatus

AGAIN = 2


@pytest.fixture
def world() -> World:
    """A world in which the volume is attached."""
    world = scenes.world()
    scenes.attach(world)
    return world


def asked(number: int = 1, **arguments: Any) -> Operation:  # noqa: ANN401 - as a caller would
    return operation("detach_volume", number, **(scenes.detach_arguments() | arguments))


def request(**arguments: Any) -> DetachVolume:  # noqa: ANN401
    return DetachVolume(**(scenes.detach_arguments() | arguments))


def steps(world: World, ended: Operation) -> list[str]:
    return [step.name for step in world.steps.get(ended.id, [])]


def failed(ended: Operation, error: type[WorkerError]) -> str:
    """Assert that the operation failed with that error; return its sentence."""
    assert ended.state is OperationState.FAILED
    assert ended.fault is not None
    assert ended.fault.code == error.code
    return ended.fault.message


def test_a_detach_undoes_all_that_the_attach_did(world: World) -> None:
    ended = run(world, asked())

    assert ended.state is OperationState.SUCCEEDED
    assert ended.past_commit_point
    assert world == scenes.world()
    assert world.events()[-2:] == ["instance.volume_detach.start", "instance.volume_detach.end"]


def test_the_guest_lets_go_before_anything_below_it_goes(world: World) -> None:
    assert steps(world, run(world, asked())) == [
        "guests.describe",
        "volumes.begin_detaching",
        "disks.unplug",
        "disks.forget",
        "guests.describe",
        "connector.disconnect",
        "attachments.delete",
    ]


def test_another_disk_keeps_its_place(world: World) -> None:
    scenes.attach(world, OTHER_VOLUME, OTHER_DEVICE)
    other = world.rows[OTHER_DEVICE]

    run(world, asked())

    assert world.rows == {OTHER_DEVICE: other}
    assert list(world.guests[INSTANCE].live) == [other.alias]


def test_a_guest_that_keeps_the_disk_keeps_all_else_too(world: World) -> None:
    world.guests[INSTANCE].busy = True
    before = copy.deepcopy(world)

    ended = run(world, asked())

    assert ended.fault is not None
    assert ended.fault.code == "block_device.guest_busy"
    failed(ended, GuestBusy)
    assert world == before
    assert world.rows[DEVICE].status is DeviceStatus.ATTACHED
    assert world.volumes[VOLUME].status is VolumeStatus.IN_USE
    assert world.events()[-1] == "instance.volume_detach.error"


def test_a_guest_that_was_busy_may_be_asked_again(world: World) -> None:
    world.guests[INSTANCE].busy = True
    run(world, asked())
    world.guests[INSTANCE].busy = False

    assert run(world, asked(AGAIN)).state is OperationState.SUCCEEDED


@pytest.mark.parametrize("doubted", [False, True])
def test_a_disk_that_only_qemu_has_is_taken_out_too(world: World, *, doubted: bool) -> None:
    """A hypervisor that lost it denies it, and would call the unplug a success."""
    guest, alias = world.guests[INSTANCE], world.rows[DEVICE].alias
    del guest.live[alias]
    guest.ghosts.add(alias)
    guest.doubted = doubted
    assert run(world, asked()).state is OperationState.SUCCEEDED
    assert guest.ghosts == set()


@pytest.mark.parametrize("own", [False, True])
def test_a_guest_that_has_the_disk_or_let_go_late_is_not_in_doubt(
    world: World, *, own: bool
) -> None:
    """To ask QEMU marks a guest for good."""
    guest = world.guests[INSTANCE]
    if own:
        del guest.live[world.rows[DEVICE].alias]
    assert run(world, replace(asked(), own=own)).state is OperationState.SUCCEEDED
    assert not guest.doubted


@pytest.mark.parametrize("gone_from", ["live", "persistent", "both"])
def test_a_disk_that_is_gone_already_is_a_success(world: World, gone_from: str) -> None:
    guest = world.guests[INSTANCE]
    if gone_from != "persistent":
        guest.live.clear()
    if gone_from != "live":
        guest.persistent.clear()

    assert run(world, asked()).state is OperationState.SUCCEEDED
    assert world == scenes.world()


def test_a_row_that_is_gone_already_is_a_success_without_outside_calls(world: World) -> None:
    run(world, asked())

    again = run(world, asked(AGAIN))

    assert again.state is OperationState.SUCCEEDED
    assert steps(world, again) == []


@pytest.mark.parametrize(
    ("gone", "error"),
    [
        (scenes.taken_over, InstanceNotFound),
        (scenes.released, InstanceWrongState),
        (scenes.importing, InstanceWrongState),
    ],
)
def test_what_another_host_has_or_gets_is_left_alone(
    world: World, gone: Callable[[World], None], error: type[WorkerError]
) -> None:
    """The request was meant for this host as it was before."""
    gone(world)
    before = copy.deepcopy(world)
    failed(run(world, asked()), error)
    assert world == before
    assert world.attachments


def test_a_guest_that_is_gone_is_no_reason_to_stay(world: World) -> None:
    del world.guests[INSTANCE]

    assert run(world, asked()).state is OperationState.SUCCEEDED
    assert world.rows == {}


def test_a_stopped_guest_loses_the_disk_of_its_persistent_layout() -> None:
    world = scenes.world(VmState.STOPPED)
    scenes.attach(world)

    assert run(world, asked()).state is OperationState.SUCCEEDED
    assert world == scenes.world(VmState.STOPPED)


class AwayUntil:
    """A watch under which one kind of call fails so many times."""

    def __init__(self, name: str, times: int) -> None:
        self.name = name
        self.times = times

    def __call__(self, name: str) -> Any:  # noqa: ANN401 - a context manager
        away = name == self.name and self.times > 0
        self.times -= away
        return Trouble(at=0 if away else None)(name)


def test_a_volume_service_that_is_away_at_the_begin_holds_up_nothing(world: World) -> None:
    ended = run(world, asked(), AwayUntil("volumes.begin_detaching", 1))

    assert ended.state is OperationState.SUCCEEDED
    assert world == scenes.world()


def test_the_end_of_the_attachment_is_tried_again_until_the_service_is_back(world: World) -> None:
    ended = run(
        world,
        asked(),
        AwayUntil("volumes.begin_detaching", 9),
        AwayUntil("attachments.delete", 3),
    )

    assert ended.state is OperationState.SUCCEEDED
    assert steps(world, ended).count("attachments.delete") == 4
    assert world == scenes.world()


def test_a_service_that_stays_away_leaves_one_thing_and_names_it(world: World) -> None:
    ended = run(world, asked(), Refusing("attachments.delete"))

    assert ended.state is OperationState.STUCK
    assert ended.fault is not None
    assert "attachments.delete" in ended.fault.message
    assert world.connected == set()
    assert world.guests[INSTANCE].live == {}
    assert world.rows[DEVICE].status is DeviceStatus.DETACHING


def test_a_service_that_is_away_on_the_way_back_does_not_make_it_stuck(world: World) -> None:
    world.guests[INSTANCE].busy = True

    ended = run(world, asked(), Refusing("volumes.roll_detaching"))

    failed(ended, GuestBusy)
    assert world.rows[DEVICE].status is DeviceStatus.ATTACHED


def test_an_unplug_that_broke_off_but_happened_goes_on(world: World) -> None:
    ended = run(world, asked(), Trouble(at=2, after=True))

    assert ended.state is OperationState.SUCCEEDED
    assert world == scenes.world()


def test_an_unplug_that_broke_off_and_did_not_happen_is_taken_back(world: World) -> None:
    before = copy.deepcopy(world)

    ended = run(world, asked(), Trouble(at=2))

    failed(ended, HypervisorUnavailable)
    assert world == before


def test_a_disk_lost_on_the_way_back_is_named_not_called_attached(world: World) -> None:
    alias = world.rows[DEVICE].alias

    class LostMeanwhile(Trouble):
        """The guest lets go after it was seen to have the disk."""

        def __call__(self, name: str) -> Any:  # noqa: ANN401 - a context manager
            if self.happened == "disks.unplug" and self.count == 4:
                del world.guests[INSTANCE].live[alias]
            return super().__call__(name)

    ended = run(world, asked(), LostMeanwhile(at=2))

    assert ended.state is OperationState.STUCK
    assert ended.fault is not None
    assert f"the guest lost {alias}" in ended.fault.message
    assert world.rows[DEVICE].status is DeviceStatus.ERROR
    assert world.connected == {VOLUME}


def test_a_stuck_detach_that_is_tried_again_goes_through(world: World) -> None:
    ended = run(world, asked(), Trouble(at=2), Refusing("guests.describe", spared=1))
    assert ended.state is OperationState.STUCK
    assert world.rows[DEVICE].status is DeviceStatus.ERROR
    world.operations[ended.id] = replace(ended, state=OperationState.QUEUED, steps=())

    assert run(world, asked()).state is OperationState.SUCCEEDED
    assert world == scenes.world()


def test_without_the_journal_the_row_is_neither_attached_nor_in_error(world: World) -> None:
    with pytest.raises(DatabaseUnavailable):
        run(world, asked(), Trouble(at=1, error=DatabaseUnavailable))
    world.commit()

    assert world.rows[DEVICE].status is DeviceStatus.DETACHING


def test_a_straggler_cannot_undo_a_newer_attachment(world: World) -> None:
    run(world, asked())
    scenes.attach(world, uuid=OTHER_DEVICE)
    before = copy.deepcopy(world)

    ended = run(world, asked(AGAIN))

    assert OTHER_DEVICE in failed(ended, DeviceSuperseded)
    assert steps(world, ended) == []
    assert world == before


def test_what_is_only_reserved_is_refused() -> None:
    world = scenes.world()
    scenes.reserve(world)

    ended = run(world, asked())

    assert "release it instead" in failed(ended, DeviceWrongState)
    assert world.rows[DEVICE].status is DeviceStatus.RESERVED


def test_what_is_attaching_is_refused_and_does_not_become_attached() -> None:
    world = scenes.world()
    scenes.reserve(world)
    world.rows[DEVICE] = replace(world.rows[DEVICE], status=DeviceStatus.ATTACHING)

    failed(run(world, asked()), DeviceWrongState)

    assert world.rows[DEVICE].status is DeviceStatus.ATTACHING


def test_the_row_of_another_volume_is_refused(world: World) -> None:
    message = failed(run(world, asked(volume_id=OTHER_VOLUME)), DeviceWrongState)

    assert VOLUME in message
    assert world.rows[DEVICE].status is DeviceStatus.ATTACHED


def test_an_attachment_that_is_not_the_rows_is_refused(world: World) -> None:
    ended = run(world, asked(attachment_id=AttachmentId("another")))

    failed(ended, AttachmentMismatch)
    assert steps(world, ended) == []
    assert world.rows[DEVICE].status is DeviceStatus.ATTACHED


def test_the_rows_own_attachment_may_be_named(world: World) -> None:
    attachment = world.rows[DEVICE].attachment

    assert run(world, asked(attachment_id=attachment)).state is OperationState.SUCCEEDED


def test_the_attachment_named_stands_in_for_one_that_the_row_lacks(world: World) -> None:
    attachment = world.rows[DEVICE].attachment
    world.rows[DEVICE] = replace(world.rows[DEVICE], attachment=None)

    run(world, asked(attachment_id=attachment))

    assert world.attachments == {}


def test_a_row_without_attachment_and_connection_is_detached_all_the_same(world: World) -> None:
    world.rows[DEVICE] = replace(world.rows[DEVICE], attachment=None, connection=None)

    ended = run(world, asked())

    assert ended.state is OperationState.SUCCEEDED
    assert steps(world, ended) == [
        "guests.describe",
        "volumes.begin_detaching",
        "disks.unplug",
        "disks.forget",
        "guests.describe",
    ]


def test_without_a_row_named_or_live_there_is_nothing_to_detach() -> None:
    world = scenes.world()

    ended = run(world, asked(bdm_uuid=None))

    assert VOLUME in failed(ended, BlockDeviceNotFound)


def test_the_row_that_is_live_at_acceptance_is_the_one_meant(world: World) -> None:
    assert name_the_row(request(bdm_uuid=None), fakes.ports(world)) == DEVICE


def test_a_row_that_is_named_is_the_one_meant(world: World) -> None:
    named = name_the_row(request(bdm_uuid=OTHER_DEVICE), fakes.ports(world))

    assert named == OTHER_DEVICE


def test_a_volume_that_is_nowhere_means_no_row(world: World) -> None:
    named = name_the_row(request(volume_id=OTHER_VOLUME, bdm_uuid=None), fakes.ports(world))

    assert named is None


def test_the_row_pinned_in_the_journal_is_the_one_detached(world: World) -> None:
    pinned = replace(asked(bdm_uuid=None), block_device=DEVICE)

    assert run(world, pinned).state is OperationState.SUCCEEDED
    assert world == scenes.world()


class Noting(FakeConnector):
    """A connector that notes with what force it was asked to disconnect."""

    forces: list[bool]

    def disconnect(self, connection: Connection, *, force: bool = False) -> None:
        self.forces = [*getattr(self, "forces", []), force]
        super().disconnect(connection, force=force)


@pytest.mark.parametrize("force", [True, False])
def test_force_is_handed_on_once_the_guest_has_let_go(world: World, *, force: bool) -> None:
    connector = Noting(world)
    ports = replace(fakes.ports(world), connector=connector)

    detach_volume(request(force=force), ports)

    assert connector.forces == [force]


def test_force_takes_nothing_from_a_guest_that_keeps_it(world: World) -> None:
    world.guests[INSTANCE].busy = True

    failed(run(world, asked(force=True)), GuestBusy)

    assert world.connected == {VOLUME}


def test_another_disk_that_bears_our_alias_is_left_alone(world: World) -> None:
    guest, alias = world.guests[INSTANCE], world.rows[DEVICE].alias
    guest.live[alias] = replace(guest.live[alias], target="vdz")
    before = copy.deepcopy(world)

    failed(run(world, asked()), DeviceAmbiguous)

    assert world == before


def test_a_guest_that_was_started_meanwhile_is_asked_once_more(world: World) -> None:
    guest, alias = world.guests[INSTANCE], world.rows[DEVICE].alias
    disk = guest.live.pop(alias)

    class StartedMeanwhile(Trouble):
        """The guest is started by other hands before its persistent layout has lost the disk."""

        def __call__(self, name: str) -> Any:  # noqa: ANN401 - a context manager
            if name == "disks.forget":
                guest.live[alias] = disk
            return super().__call__(name)

    ended = run(world, asked(), StartedMeanwhile())

    assert ended.state is OperationState.SUCCEEDED
    assert world == scenes.world()


def test_a_domain_that_is_gone_has_nothing_to_let_go_of(world: World) -> None:
    del world.guests[INSTANCE]

    assert run(world, asked()).state is OperationState.SUCCEEDED
    assert world.connected == set()


def test_a_guest_that_lets_go_just_after_it_refused_is_no_failure(world: World) -> None:
    ended = run(world, asked(), Trouble(at=2, after=True, error=GuestBusy))

    assert ended.state is OperationState.SUCCEEDED
    assert world == scenes.world()


def test_what_is_left_is_named_in_words_and_not_by_our_classes(world: World) -> None:
    ended = run(world, asked(), Trouble(at=2), Refusing("guests.describe", spared=1))

    assert ended.fault is not None
    assert ended.fault.message.endswith("check kept, roll detaching, restore status")


def test_anothers_attachment_is_not_deleted_with_a_disk_that_has_none(world: World) -> None:
    scenes.attach(world, scenes.OTHER_VOLUME, scenes.OTHER_DEVICE)
    world.rows[DEVICE] = replace(world.rows[DEVICE], attachment=None)
    anothers = world.rows[scenes.OTHER_DEVICE].attachment
    assert anothers is not None
    assert run(world, asked(attachment_id=anothers)).state is OperationState.SUCCEEDED
    assert anothers in world.attachments
