"""Attach: what it leaves when it succeeds, what it refuses, what it takes back."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests import fakes
from tests.fakes.volume_service import connection_of
from tests.fakes.world import World
from tests.unit import scenes
from tests.unit.scenes import (
    DEVICE,
    INSTANCE,
    OTHER_DEVICE,
    OTHER_VOLUME,
    VOLUME,
    Crash,
    Refusing,
    Trouble,
    operation,
    run,
)
from worker.errors import (
    AttachmentMismatch,
    AttachmentNotFound,
    BlockDeviceNotFound,
    DatabaseUnavailable,
    DeviceWrongState,
    InstanceNotFound,
    InstanceWrongState,
    VolumeInUse,
    WorkerError,
    WrongDevice,
)
from worker.handlers.release_block_device import ReleaseBlockDevice, release_block_device
from worker.model.block_device import Bus, DeviceStatus, DeviceType
from worker.model.disk import Disk
from worker.model.ids import AttachmentId, BlockDeviceId, InstanceId
from worker.model.instance import VmState
from worker.model.operation import Operation, OperationState
from worker.model.places.address import PciAddress
from worker.model.source import DiskOptions, FileSource
from worker.model.volume import GIB, Attachment, AttachmentStatus, VolumeStatus

GIVEN = AttachmentId("a77ac4ed-0000-4000-8000-000000000001")
OTHER_INSTANCE = InstanceId("6f9a5bd0-5d50-4f3c-9c35-1a7c61d2e002")


@pytest.fixture
def world() -> World:
    world = scenes.world()
    scenes.reserve(world)
    return world


def asked(**arguments: Any) -> Operation:  # noqa: ANN401 - as a caller of the bus would
    return operation("attach_volume", **(scenes.attach_arguments() | arguments))


def hold(world: World, **fields: Any) -> Attachment:  # noqa: ANN401
    """Let the volume service have an attachment that the caller made."""
    held = Attachment(id=GIVEN, volume=VOLUME, instance=INSTANCE, status=AttachmentStatus.RESERVED)
    held = replace(held, **fields)
    world.attachments[GIVEN] = held
    world.volumes[held.volume] = replace(world.volumes[held.volume], status=VolumeStatus.RESERVED)
    return held


def steps(world: World, ended: Operation) -> list[str]:
    return [step.name for step in world.steps.get(ended.id, [])]


def failed(ended: Operation, error: type[WorkerError]) -> str:
    """Assert that the operation failed with that error; return its sentence."""
    assert ended.state is OperationState.FAILED
    assert ended.fault is not None
    assert ended.fault.code == error.code
    return ended.fault.message


def test_an_attached_volume_is_in_every_view(world: World) -> None:
    assert run(world, asked()).state is OperationState.SUCCEEDED

    row = world.rows[DEVICE]
    guest = world.guests[INSTANCE]
    (attachment,) = world.attachments.values()
    assert row.status is DeviceStatus.ATTACHED
    assert guest.live == guest.persistent
    shown = guest.live[row.alias]
    assert (shown.target, shown.address, shown.serial) == (row.target, row.address, row.serial)
    assert (attachment.id, attachment.status) == (row.attachment, AttachmentStatus.ATTACHED)
    assert world.volumes[VOLUME].status is VolumeStatus.IN_USE
    assert world.connected == {VOLUME}
    assert world.connections[DEVICE] == connection_of(VOLUME).without_secrets()


def test_the_update_at_the_end_carries_the_row(world: World) -> None:
    ended = run(world, asked())

    end = world.told[-1]
    assert (end.event, end.operation) == ("instance.volume_attach.end", ended.id)
    assert end.block_device == world.rows[DEVICE]


def test_a_stopped_guest_gets_the_disk_in_its_persistent_layout_alone() -> None:
    world = scenes.world(VmState.STOPPED)
    scenes.reserve(world)

    assert run(world, asked()).state is OperationState.SUCCEEDED

    assert world.guests[INSTANCE].live == {}
    assert list(world.guests[INSTANCE].persistent) == [f"ua-{VOLUME}"]


def test_a_shared_volume_is_shareable_in_the_guest(world: World) -> None:
    world.rows[DEVICE] = replace(world.rows[DEVICE], multiattach=True)

    run(world, asked())

    assert world.guests[INSTANCE].live[f"ua-{VOLUME}"].options.shareable


def test_the_callers_attachment_is_used(world: World) -> None:
    hold(world)

    assert run(world, asked(attachment_id=GIVEN)).state is OperationState.SUCCEEDED

    assert list(world.attachments) == [GIVEN]
    assert world.rows[DEVICE].attachment == GIVEN


def test_an_attachment_that_is_there_is_used_though_nobody_named_it(world: World) -> None:
    hold(world)

    run(world, asked())

    assert list(world.attachments) == [GIVEN]


def test_an_attachment_that_has_a_connection_is_not_connected_again(world: World) -> None:
    hold(world, status=AttachmentStatus.ATTACHING, connection=connection_of(VOLUME))

    ended = run(world, asked(attachment_id=GIVEN))

    assert ended.state is OperationState.SUCCEEDED
    assert "attachments.connect" not in steps(world, ended)
    assert "attachments.complete" in steps(world, ended)


def test_an_attachment_that_is_completed_is_not_completed_again(world: World) -> None:
    hold(world, status=AttachmentStatus.ATTACHED, connection=connection_of(VOLUME))

    ended = run(world, asked(attachment_id=GIVEN))

    assert ended.state is OperationState.SUCCEEDED
    assert "attachments.complete" not in steps(world, ended)


@pytest.mark.parametrize(
    "fields", [{"volume": OTHER_VOLUME}, {"instance": OTHER_INSTANCE}, {"instance": None}]
)
def test_an_attachment_of_another_is_refused_and_left_alone(
    world: World, fields: dict[str, Any]
) -> None:
    held = hold(world, **fields)

    message = failed(run(world, asked(attachment_id=GIVEN)), AttachmentMismatch)

    assert GIVEN in message
    assert world.attachments == {GIVEN: held}
    assert world.rows == {}
    assert world.connected == set()


def test_an_attachment_that_does_not_exist_ends_the_reservation(world: World) -> None:
    failed(run(world, asked(attachment_id=GIVEN)), AttachmentNotFound)

    assert world == scenes.world()


@pytest.mark.parametrize("given", [True, False])
def test_a_device_that_is_too_small_is_never_shown_and_all_is_taken_back(
    world: World, *, given: bool
) -> None:
    world.sizes[VOLUME] = GIB - 1
    if given:
        hold(world)

    ended = run(world, asked(attachment_id=GIVEN if given else None))

    assert str(GIB - 1) in failed(ended, WrongDevice)
    assert "disks.attach" not in steps(world, ended)
    before = scenes.world()
    before.sizes[VOLUME] = GIB - 1
    assert world == before


def test_an_attachment_that_nobody_named_stays_when_the_attach_fails(world: World) -> None:
    """A volume that is being moved has two to one instance, of which one is for another host."""
    others = replace(hold(world), id=AttachmentId("attachment-of-another-host"))
    world.attachments = {others.id: others} | dict(world.attachments)
    world.sizes[VOLUME] = GIB - 1

    failed(run(world, asked(attachment_id=GIVEN)), WrongDevice)

    assert world.attachments == {others.id: others}


def test_a_device_that_has_grown_is_fine(world: World) -> None:
    world.sizes[VOLUME] = 2 * GIB

    assert run(world, asked()).state is OperationState.SUCCEEDED


def test_a_volume_that_someone_took_since_is_refused_and_stays_theirs(world: World) -> None:
    held = hold(world, instance=OTHER_INSTANCE)

    failed(run(world, asked()), VolumeInUse)

    assert world.attachments == {GIVEN: held}
    assert world.rows == {}


def test_what_is_attached_already_is_a_success_without_outside_calls(world: World) -> None:
    run(world, asked())

    again = run(world, replace(asked(), id=scenes.OPERATION[:-1] + "9"))  # type: ignore[arg-type]

    assert again.state is OperationState.SUCCEEDED
    assert steps(world, again) == []
    assert world.events()[-2:] == ["instance.volume_attach.start", "instance.volume_attach.end"]


def test_a_released_row_is_refused(world: World) -> None:
    release_block_device(ReleaseBlockDevice(bdm_uuid=DEVICE), fakes.ports(world))

    ended = run(world, asked())

    assert "reserve anew" in failed(ended, DeviceWrongState)
    assert steps(world, ended) == []
    assert world == scenes.world()


def test_an_unknown_row_is_refused(world: World) -> None:
    failed(run(world, asked(bdm_uuid=BlockDeviceId("nothing"))), BlockDeviceNotFound)


def test_the_row_of_another_instance_is_refused_and_stays(world: World) -> None:
    world.instances[OTHER_INSTANCE] = replace(world.instances[INSTANCE], uuid=OTHER_INSTANCE)
    message = failed(run(world, asked(instance_uuid=OTHER_INSTANCE)), DeviceWrongState)

    assert INSTANCE in message
    assert world.rows[DEVICE].status is DeviceStatus.RESERVED


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (scenes.taken_over, InstanceNotFound),
        (scenes.released, InstanceWrongState),
        (scenes.importing, InstanceWrongState),
    ],
)
def test_a_reservation_of_what_another_host_has_or_gets_stays(
    world: World, change: Callable[[World], None], error: type[WorkerError]
) -> None:
    change(world)
    before = copy.deepcopy(world)
    failed(run(world, asked()), error)
    assert world == before


@pytest.mark.parametrize("status", [DeviceStatus.DETACHING, DeviceStatus.MISSING])
def test_a_row_that_is_on_another_way_is_refused_and_stays(
    world: World, status: DeviceStatus
) -> None:
    world.rows[DEVICE] = replace(world.rows[DEVICE], status=status)

    failed(run(world, asked()), DeviceWrongState)

    assert world.rows[DEVICE].status is status


def test_an_attach_that_is_stuck_keeps_what_a_later_detach_must_undo(world: World) -> None:
    trouble = Trouble(at=len(steps_of_an_attach()) - 1)

    ended = run(world, asked(), trouble, Refusing("disks.unplug"))

    assert ended.state is OperationState.STUCK
    row = world.rows[DEVICE]
    assert row.status is DeviceStatus.ERROR
    assert row.attachment in world.attachments
    assert row.connection == world.connections[DEVICE]


def steps_of_an_attach() -> list[str]:
    world = scenes.world()
    scenes.reserve(world)
    return steps(world, run(world, asked()))


def test_past_the_commit_point_a_failure_removes_nothing(world: World) -> None:
    """A later worker takes up an attach that was completed, and stumbles once."""
    began = replace(asked(), state=OperationState.RUNNING, past_commit_point=True)
    world.rows[DEVICE] = replace(world.rows[DEVICE], status=DeviceStatus.ATTACHING)

    ended = run(world, began, Trouble(at=4))

    assert ended.state is OperationState.SUCCEEDED
    assert world.rows[DEVICE].status is DeviceStatus.ATTACHED
    assert steps(world, ended).count("attachments.create") == 1


def test_without_the_journal_neither_row_nor_attachment_goes(world: World) -> None:
    """What waits for the next commit must not be the end of a row that goes on."""
    with pytest.raises(DatabaseUnavailable):
        run(world, asked(), Trouble(at=4, error=DatabaseUnavailable))
    world.commit()

    assert world.rows[DEVICE].status is DeviceStatus.ATTACHING
    assert len(world.attachments) == 1


def test_a_stuck_attach_that_is_tried_again_goes_through(world: World) -> None:
    trouble = Trouble(at=len(steps_of_an_attach()) - 1)
    ended = run(world, asked(), trouble, Refusing("disks.unplug"))
    world.operations[ended.id] = replace(ended, state=OperationState.QUEUED, steps=())

    assert run(world, asked()).state is OperationState.SUCCEEDED

    assert world.rows[DEVICE].status is DeviceStatus.ATTACHED


def test_the_steps_are_in_the_order_of_the_main_job(world: World) -> None:
    assert steps(world, run(world, asked())) == [
        "attachments.find",
        "attachments.create",
        "connector.properties",
        "attachments.connect",
        "connector.connect",
        "volumes.show",
        "connector.examine",
        "guests.describe",
        "disks.attach",
        "attachments.complete",
    ]


def test_two_volumes_are_attached_side_by_side(world: World) -> None:
    scenes.reserve(world, OTHER_VOLUME, OTHER_DEVICE, disk_bus="scsi")
    run(world, asked())

    run(world, operation("attach_volume", 2, **scenes.attach_arguments(OTHER_DEVICE)))

    shown = world.guests[INSTANCE].live.values()
    assert {disk.target for disk in shown} == {"vda", "sda"}


def test_a_disk_of_anothers_under_our_alias_is_not_taken_away(world: World) -> None:
    guest = world.guests[INSTANCE]
    (row,) = world.rows.values()
    assert row.address is not None
    stranger = Disk(
        alias=row.alias,
        target="vdz",
        bus=Bus.VIRTIO,
        device_type=DeviceType.DISK,
        serial=None,
        address=PciAddress(bus=8, slot=0),
        source=FileSource(path="/stranger"),
        options=DiskOptions(),
    )
    guest.live[row.alias] = guest.persistent[row.alias] = stranger

    ended = run(world, asked())

    assert ended.fault is not None
    assert ended.fault.code == "block_device.ambiguous"
    assert guest.live == guest.persistent == {row.alias: stranger}
    assert not world.rows
    assert not world.connected
    assert not world.attachments


def test_a_run_after_a_death_on_the_way_back_takes_the_disk_back_before_it_plugs_it_in(
    world: World,
) -> None:
    """The guest was asked to let go, and may do so only when the second run has begun."""
    complete = steps_of_an_attach().index("attachments.complete")
    with pytest.raises(Crash):
        run(world, asked(), Trouble(at=complete), Trouble(at=complete, error=Crash))
    world.crash()
    before = len(world.steps[asked().id])

    ended = run(world, asked())

    assert ended.state is OperationState.SUCCEEDED
    again = steps(world, ended)[before:]
    assert again.index("disks.unplug") < again.index("disks.attach")


def test_a_run_that_cannot_take_the_disk_back_leaves_no_attachment(world: World) -> None:
    """Until it has taken the disk back it has not looked at the attachment of the run before."""
    complete = steps_of_an_attach().index("attachments.complete")
    with pytest.raises(Crash):
        run(world, asked(), Trouble(at=complete), Trouble(at=complete, error=Crash))
    world.crash()

    ended = run(world, asked(), Trouble(at=0))

    assert ended.state is OperationState.FAILED
    assert (world.rows, world.attachments) == ({}, {})


def test_an_attachment_that_an_earlier_run_completed_is_past_the_commit_point(
    world: World,
) -> None:
    """That run had no time to write it down; the guest may be using the disk."""
    complete = steps_of_an_attach().index("attachments.complete")
    with pytest.raises(Crash):
        run(world, asked(), Trouble(at=complete, after=True, error=Crash))
    world.crash()
    before = len(world.steps[asked().id])

    ended = run(world, asked(), Refusing("connector.connect"))

    assert ended.state is OperationState.STUCK
    assert "disks.unplug" not in steps(world, ended)[before:]
    assert world.attachments


def test_a_completion_that_was_on_its_way_back_is_no_commit_point(world: World) -> None:
    """It had its effect and failed all the same; the run that saw it fail has begun to go back."""
    complete = steps_of_an_attach().index("attachments.complete")
    killed = Trouble(at=complete + 1, error=Crash)
    with pytest.raises(Crash):
        run(world, asked(), Trouble(at=complete, after=True), killed)
    world.crash()

    ended = run(world, asked(), Refusing("disks.attach"))

    assert ended.state is OperationState.FAILED
    assert world.attachments == {}
    assert world.connected == set()


def test_past_the_commit_point_nothing_is_taken_back_that_an_earlier_run_could_not(
    world: World,
) -> None:
    """The guest may be using the disk by then."""
    complete = steps_of_an_attach().index("attachments.complete")
    stuck = run(world, asked(), Trouble(at=complete), Refusing("disks.unplug"))
    assert "disks.unplug" in steps(world, stuck)
    before = len(steps(world, stuck))
    world.operations[stuck.id] = replace(
        stuck, state=OperationState.RUNNING, past_commit_point=True
    )

    ended = run(world, asked())

    assert ended.state is OperationState.SUCCEEDED
    assert "disks.unplug" not in steps(world, ended)[before:]
