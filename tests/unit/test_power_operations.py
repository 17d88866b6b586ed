"""Start, stop and reboot: what each makes of a guest and its disks, and what it refuses."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests import fakes
from tests.fakes.hypervisor import shown
from tests.fakes.world import World
from tests.unit import power_scenes, rescue_scenes, scenes
from tests.unit.power_scenes import ALIAS, DATA, DATA_VOLUME, LOCAL, ROOT_VOLUME
from tests.unit.runs import LONG, fault_of
from tests.unit.scenes import INSTANCE, Crash, Refusing, Trouble, operation, run
from worker.errors import (
    AttachmentMismatch,
    AttachmentNotFound,
    ConnectFailed,
    DomainNotFound,
    HypervisorUnavailable,
    InstanceNotFound,
    InstanceRescued,
    InstanceWrongState,
    LocalDiskUnavailable,
    RequestMalformed,
    VolumeNotFound,
    VolumeServiceForbids,
    VolumeServiceUnavailable,
    VolumeServiceUnsuitable,
    WorkerError,
    WrongDevice,
)
from worker.model.block_device import DeviceStatus
from worker.model.config_drive import META_DATA
from worker.model.guest import GuestDisk
from worker.model.instance import TAKEN_FROM, PowerChange, VmState
from worker.model.operation import Operation, OperationState
from worker.model.volume import GIB
from worker.wiring.waiting import Waiting

START = operation("start_instance", instance_uuid=INSTANCE)
STOP = operation("stop_instance", instance_uuid=INSTANCE)
REBOOT = operation("reboot_instance", instance_uuid=INSTANCE)
HARD = operation("reboot_instance", instance_uuid=INSTANCE, hard=True)
CUT = operation("stop_instance", instance_uuid=INSTANCE, clean_shutdown=False)
RESUME = operation("resume_instance", instance_uuid=INSTANCE)
RETURN = operation("return_volume", instance_uuid=INSTANCE, bdm_uuid=DATA)
RETURN_LATER = operation("return_volume", number=2, instance_uuid=INSTANCE, bdm_uuid=DATA)

ASKED = {
    PowerChange.START: START,
    PowerChange.STOP: STOP,
    PowerChange.SOFT_REBOOT: REBOOT,
    PowerChange.HARD_REBOOT: HARD,
    PowerChange.RESCUE: rescue_scenes.asked(number=61),
    PowerChange.UNRESCUE: rescue_scenes.back(),
}


def carry_out(world: World, asked: Operation, *watches: object) -> Operation:
    ended = run(world, asked, *watches)
    assert ended.fault is None, ended.fault
    assert not world.harm
    return ended


def refused(world: World, asked: Operation, error: type[WorkerError]) -> str:
    """It fails with the error, and the world is as it was."""
    before = world.copy()
    fault = fault_of(run(world, asked))
    assert fault.code == error.code
    assert world == before
    return fault.message


def disks(world: World) -> dict[str, GuestDisk]:
    return {alias: shown(disk) for alias, disk in world.guests[INSTANCE].live.items()}


def steps(world: World, ended: Operation) -> list[str]:
    return [step.name for step in world.steps.get(ended.id, [])]


def told_of(world: World, event: str) -> list[object]:
    return [
        (update.block_device.uuid, update.fault.code if update.fault else None)
        for update in world.told
        if update.event.value == event and update.block_device is not None
    ]


def in_state(state: VmState) -> World:
    if state is VmState.RESCUED:
        return rescue_scenes.rescued()
    world = power_scenes.off() if state is VmState.STOPPED else power_scenes.on()
    world.instances[INSTANCE] = replace(world.instances[INSTANCE], vm_state=state)
    return rescue_scenes.with_images(world)


@pytest.mark.parametrize("change", PowerChange)
@pytest.mark.parametrize("state", VmState)
def test_each_is_taken_from_the_states_of_the_table(change: PowerChange, state: VmState) -> None:
    world = in_state(state)
    if state in TAKEN_FROM[change]:
        carry_out(world, ASKED[change])
    else:
        rescued = state is VmState.RESCUED
        message = refused(world, ASKED[change], InstanceRescued if rescued else InstanceWrongState)
        assert ("in rescue" if rescued else state) in message
        assert ASKED[change].id not in world.steps


@pytest.mark.parametrize("asked", ASKED.values())
def test_an_instance_that_is_not_ours_is_not_found(asked: Operation) -> None:
    world = power_scenes.on()
    world.instances.clear()
    refused(world, asked, InstanceNotFound)


def test_a_guest_starts_with_all_its_disks_as_they_were() -> None:
    world = power_scenes.on()
    before = disks(world)
    carry_out(world, operation("stop_instance", number=2, instance_uuid=INSTANCE))
    assert world.instances[INSTANCE].vm_state is VmState.STOPPED
    assert disks(world) == {}
    carry_out(world, START)
    assert disks(world) == before
    assert world.instances[INSTANCE].vm_state is VmState.ACTIVE
    assert world.events()[-2:] == ["instance.start.start", "instance.start.end"]


def test_a_stop_leaves_the_volumes_connected() -> None:
    world = power_scenes.on()
    carry_out(world, STOP)
    assert world.connected == {ROOT_VOLUME, DATA_VOLUME}
    assert {row.status for row in world.rows.values()} == {DeviceStatus.ATTACHED}


def test_what_is_so_already_is_done_at_once() -> None:
    running, off = power_scenes.on(), power_scenes.off()
    assert steps(running, carry_out(running, START)) == ["guests.describe"]
    assert steps(off, carry_out(off, STOP)) == ["guests.describe"]


def test_a_start_of_a_guest_that_was_started_by_other_hands_says_what_it_does() -> None:
    world = power_scenes.on()
    world.instances[INSTANCE] = replace(world.instances[INSTANCE], vm_state=VmState.STOPPED)
    world.guests[INSTANCE].vm_state = VmState.PAUSED
    carry_out(world, START)
    assert world.instances[INSTANCE].vm_state is VmState.PAUSED


def test_an_adopted_guest_has_no_local_disk_of_ours_and_starts() -> None:
    world = power_scenes.off()
    kept = world.instances[INSTANCE]
    world.instances[INSTANCE] = replace(kept, specification=None)
    carry_out(world, START)
    assert world.guests[INSTANCE].running


def test_an_adopted_volume_that_nobody_attached_stays_as_its_layout_has_it() -> None:
    world = power_scenes.off()
    world.rows[DATA] = replace(world.rows[DATA], attachment=None, connection=None)
    del world.connections[DATA]
    alias = world.rows[DATA].alias
    shown = world.guests[INSTANCE].persistent[alias]
    world.connected.add(DATA_VOLUME)

    carry_out(world, START)

    assert world.guests[INSTANCE].live[alias] == shown
    assert world.rows[DATA].status is DeviceStatus.ATTACHED
    assert "block_device.missing" not in world.events()


@pytest.mark.parametrize("asked", [START, REBOOT, HARD])
def test_a_local_disk_that_is_gone_is_said_before_anything_is_touched(asked: Operation) -> None:
    world = power_scenes.off() if asked is START else power_scenes.on()
    world.files.clear()
    assert LOCAL in refused(world, asked, LocalDiskUnavailable)


def test_a_local_disk_whose_row_was_removed_is_not_wanted() -> None:
    world = power_scenes.off()
    row = world.rows.pop(LOCAL)
    world.guests[INSTANCE].persistent.pop(row.alias)
    world.files.clear()
    carry_out(world, START)


@pytest.mark.parametrize("asked", [STOP, REBOOT, HARD])
def test_a_guest_whose_domain_would_end_with_it_is_left_alone(asked: Operation) -> None:
    world = power_scenes.on()
    world.guests[INSTANCE].transient = True
    refused(world, asked, InstanceWrongState)
    assert world.guests[INSTANCE].running


def test_a_domain_that_is_gone_is_stopped_and_cannot_be_started() -> None:
    world = power_scenes.on()
    world.guests.clear()
    carry_out(world, STOP)
    assert world.instances[INSTANCE].vm_state is VmState.STOPPED
    refused(world, operation("start_instance", number=2, instance_uuid=INSTANCE), DomainNotFound)


def unreachable(world: World) -> None:
    world.unreachable.add(DATA_VOLUME)


def another_size(world: World) -> None:
    world.sizes[DATA_VOLUME] = GIB - 1


def without_attachment(world: World) -> None:
    (held,) = [one for one in world.attachments.values() if one.volume == DATA_VOLUME]
    del world.attachments[held.id]


def with_anothers_attachment(world: World) -> None:
    (held,) = [one for one in world.attachments.values() if one.volume == ROOT_VOLUME]
    world.rows[DATA] = replace(world.rows[DATA], attachment=held.id)


def never_attached(world: World) -> None:
    world.rows[DATA] = replace(world.rows[DATA], attachment=None)


def without_volume(world: World) -> None:
    del world.volumes[DATA_VOLUME]


LOSSES = [
    (unreachable, ConnectFailed),
    (another_size, WrongDevice),
    (without_attachment, AttachmentNotFound),
    (with_anothers_attachment, AttachmentMismatch),
    (never_attached, AttachmentNotFound),
    (without_volume, VolumeNotFound),
]


@pytest.mark.parametrize(("lose", "error"), LOSSES)
def test_a_volume_that_cannot_be_had_does_not_keep_the_guest_down(
    lose: Callable[[World], None], error: type[WorkerError]
) -> None:
    world = power_scenes.host_booted()
    lose(world)
    carry_out(world, START)
    assert world.rows[DATA].status is DeviceStatus.MISSING
    assert ALIAS not in world.guests[INSTANCE].live
    assert ALIAS not in world.guests[INSTANCE].persistent
    assert world.connected == {ROOT_VOLUME}
    assert DATA not in world.connections
    assert told_of(world, "block_device.missing") == [(DATA, error.code)]


@pytest.mark.parametrize(("lose", "error"), LOSSES)
def test_one_that_the_guest_boots_from_does(
    lose: Callable[[World], None], error: type[WorkerError]
) -> None:
    world = power_scenes.host_booted()
    world.rows[power_scenes.ROOT] = replace(world.rows[power_scenes.ROOT], boot_index=None)
    world.rows[DATA] = replace(world.rows[DATA], boot_index=0)
    lose(world)
    assert fault_of(run(world, START)).code == error.code
    assert not world.guests[INSTANCE].running
    assert ALIAS in world.guests[INSTANCE].persistent
    assert world.rows[DATA].status is DeviceStatus.ATTACHED
    assert told_of(world, "block_device.missing") == []


def test_what_it_boots_from_is_looked_for_first() -> None:
    world = power_scenes.host_booted()
    world.rows[power_scenes.ROOT] = replace(world.rows[power_scenes.ROOT], boot_index=None)
    world.rows[DATA] = replace(world.rows[DATA], boot_index=0)
    world.unreachable |= {ROOT_VOLUME, DATA_VOLUME}
    assert run(world, START).state is OperationState.FAILED
    assert {row.status for row in world.rows.values()} == {DeviceStatus.ATTACHED}


def test_one_that_stays_away_is_told_once() -> None:
    world = power_scenes.booted_without_the_volume()
    carry_out(world, START)
    carry_out(world, operation("reboot_instance", number=3, instance_uuid=INSTANCE))
    assert len(told_of(world, "block_device.missing")) == 1


def test_what_cannot_be_let_go_of_stays_recorded() -> None:
    world = power_scenes.off()
    world.sizes[DATA_VOLUME] = GIB - 1
    carry_out(world, START, Refusing("connector.disconnect"))
    assert world.rows[DATA].status is DeviceStatus.MISSING
    assert DATA in world.connections


@pytest.mark.parametrize(
    "error", [VolumeServiceUnavailable, VolumeServiceForbids, VolumeServiceUnsuitable]
)
def test_a_volume_service_that_is_away_is_asked_once_and_the_last_way_taken(
    error: Callable[[str], WorkerError],
) -> None:
    world = power_scenes.host_booted()
    before = world.guests[INSTANCE].persistent.copy()
    ended = carry_out(world, START, Refusing("attachments.get", error=error))
    assert steps(world, ended).count("attachments.get") == 1
    assert world.guests[INSTANCE].live == before
    assert {row.status for row in world.rows.values()} == {DeviceStatus.ATTACHED}


def test_a_reboot_asks_it_while_the_guest_still_runs() -> None:
    world = power_scenes.on()
    ended = carry_out(world, HARD, Refusing("attachments.get"))
    made = steps(world, ended)
    assert made.count("attachments.get") == 1
    assert made.index("attachments.get") < made.index("power.cut")


def test_then_a_device_that_is_too_small_is_found_by_what_the_row_knows() -> None:
    world = power_scenes.host_booted()
    world.rows[DATA] = replace(world.rows[DATA], volume_size=2)
    world.sizes[DATA_VOLUME] = GIB - 1
    carry_out(world, START, Refusing("attachments.get"))
    assert world.rows[DATA].status is DeviceStatus.MISSING


def test_and_one_of_which_nothing_is_known_is_missing() -> None:
    world = power_scenes.host_booted()
    world.rows[DATA] = replace(world.rows[DATA], connection=None)
    carry_out(world, START, Refusing("attachments.get"))
    assert world.rows[DATA].status is DeviceStatus.MISSING


def test_an_attachment_that_lost_its_connection_is_connected_again() -> None:
    world = power_scenes.host_booted()
    (held,) = [one for one in world.attachments.values() if one.volume == DATA_VOLUME]
    world.attachments[held.id] = replace(held, connection=None)
    carry_out(world, START)
    assert ALIAS in world.guests[INSTANCE].live


def test_a_volume_that_has_moved_keeps_all_its_marks() -> None:
    world = power_scenes.moved()
    before = shown(world.guests[INSTANCE].persistent[ALIAS])
    ended = carry_out(world, START)
    elsewhere = f"/dev/elsewhere/{DATA_VOLUME}"
    assert disks(world)[ALIAS] == replace(before, source=elsewhere)
    assert world.connections[DATA].properties["device_path"] == elsewhere
    assert "connector.disconnect" in steps(world, ended)
    assert steps(world, ended).count("disks.forget") == 1
    for event in ("block_device.missing", "block_device.returned"):
        assert told_of(world, event) == [(DATA, None)]


def test_one_that_has_moved_and_is_refused_there_is_missing_until_it_is_tried_again() -> None:
    world = power_scenes.moved()
    assert run(world, START, Refusing("disks.attach")).state is OperationState.FAILED
    assert ALIAS not in world.guests[INSTANCE].persistent
    assert world.rows[DATA].status is DeviceStatus.MISSING
    carry_out(world, RETURN_LATER)
    assert ALIAS in world.guests[INSTANCE].persistent


def test_one_that_has_moved_is_restored_wherever_the_worker_dies() -> None:
    for at in range(40):
        for late in (False, True):
            world = power_scenes.moved()
            trouble = Trouble(at=at, after=late, error=Crash)
            try:
                run(world, START, trouble)
            except Crash:
                world.crash()
            carry_out(world, START)
            assert disks(world)[ALIAS].source == f"/dev/elsewhere/{DATA_VOLUME}"
            assert world.rows[DATA].status is DeviceStatus.ATTACHED
            if trouble.happened is None:
                return
    raise AssertionError


def test_a_disk_that_is_as_it_was_is_not_touched() -> None:
    world = power_scenes.host_booted()
    ended = carry_out(world, START)
    assert not [name for name in steps(world, ended) if name.startswith("disks.")]


def test_a_guest_that_goes_off_is_not_cut() -> None:
    world = power_scenes.on()
    ended = carry_out(world, STOP)
    assert world.guests[INSTANCE].asked == 1
    assert "power.cut" not in steps(world, ended)


def test_it_is_asked_once_even_if_the_call_breaks_off() -> None:
    calls: list[str] = []

    def ask() -> None:
        calls.append("power.ask_off")
        message = "libvirt went away"
        raise HypervisorUnavailable(message)

    with pytest.raises(HypervisorUnavailable):
        Waiting(lambda: LONG).call("power.ask_off", ask)
    assert calls == ["power.ask_off"]


def test_one_that_is_deaf_is_cut_after_its_time() -> None:
    world = power_scenes.deaf()
    ended = carry_out(world, STOP)
    assert steps(world, ended)[-3:] == ["power.ask_off", "power.wait_off", "power.cut"]


@pytest.mark.parametrize("asked", [CUT, HARD])
def test_one_that_is_not_to_be_asked_is_cut(asked: Operation) -> None:
    world = power_scenes.on()
    carry_out(world, asked)
    assert world.guests[INSTANCE].asked == 0


def test_one_that_is_paused_hears_nothing_and_is_cut() -> None:
    world = power_scenes.on()
    world.guests[INSTANCE].vm_state = VmState.PAUSED
    carry_out(world, STOP)
    assert world.guests[INSTANCE].asked == 0
    assert not world.guests[INSTANCE].running


def test_a_time_below_nothing_is_malformed() -> None:
    world = power_scenes.on()
    asked = operation("stop_instance", instance_uuid=INSTANCE, timeout=-1)
    refused(world, asked, RequestMalformed)
    carry_out(world, operation("stop_instance", number=2, instance_uuid=INSTANCE, timeout=0))


@pytest.mark.parametrize("asked", [REBOOT, HARD])
@pytest.mark.parametrize("start", [power_scenes.on, power_scenes.deaf])
def test_a_reboot_keeps_every_disk(asked: Operation, start: Callable[[], World]) -> None:
    world = start()
    before = disks(world)
    carry_out(world, asked)
    assert disks(world) == before
    assert world.instances[INSTANCE].vm_state is VmState.ACTIVE


def test_a_reboot_connects_anew_and_gives_a_missing_volume_back() -> None:
    world = power_scenes.missing_while_it_runs()
    carry_out(world, HARD)
    assert ALIAS in world.guests[INSTANCE].live
    assert told_of(world, "block_device.returned") == [(DATA, None)]


def test_a_guest_is_not_cut_for_a_start_that_would_fail_for_certain() -> None:
    world = power_scenes.on()
    world.rows[DATA] = replace(world.rows[DATA], boot_index=0)
    without_attachment(world)
    refused(world, HARD, AttachmentNotFound)
    assert world.guests[INSTANCE].running


def test_a_reboot_whose_guest_does_not_come_up_again_is_stuck_and_run_again() -> None:
    world = power_scenes.on()
    ended = run(world, REBOOT, Refusing("power.start"))
    assert ended.state is OperationState.STUCK
    assert "power.start" in (ended.fault.message if ended.fault else "")
    world.instances[INSTANCE] = replace(world.instances[INSTANCE], vm_state=VmState.STOPPED)
    fakes.ports(world).stuck.reopen(ended.id)
    carry_out(world, REBOOT)
    assert world.guests[INSTANCE].running
    assert world.guests[INSTANCE].asked == 1


@pytest.mark.parametrize("asked", [REBOOT, HARD])
def test_a_guest_that_was_started_again_is_not_cut_by_the_next_worker(asked: Operation) -> None:
    plain = power_scenes.deaf()
    start = steps(plain, carry_out(plain, asked)).index("power.start")
    world = power_scenes.deaf()
    with pytest.raises(Crash):
        run(world, asked, Trouble(at=start, after=True, error=Crash))
    world.crash()
    ended = carry_out(world, asked)
    assert steps(world, ended).count("power.cut") == 1
    assert world.guests[INSTANCE].running


def test_while_it_is_stuck_nothing_else_begins_on_the_instance() -> None:
    world = power_scenes.on()
    run(world, REBOOT, Refusing("power.start"))
    asked = operation("start_instance", number=2, instance_uuid=INSTANCE)
    assert fault_of(run(world, asked)).code == "operation.blocked"


def test_a_start_that_failed_cuts_what_it_may_have_started() -> None:
    world = power_scenes.off()
    ended = run(world, START, Trouble(at=after_start(), after=True))
    assert ended.state is OperationState.FAILED
    assert not world.guests[INSTANCE].running


def after_start() -> int:
    """Return the number of the call that starts the guest."""
    world = power_scenes.off()
    return steps(world, carry_out(world, START)).index("power.start")


def test_a_guest_that_ran_is_brought_back_unless_it_was_stopped_since() -> None:
    world = power_scenes.host_booted()
    carry_out(world, RESUME)
    assert world.guests[INSTANCE].running
    stopped = power_scenes.off()
    assert steps(stopped, carry_out(stopped, RESUME)) == []
    assert not stopped.guests[INSTANCE].running


def test_a_volume_that_is_back_has_its_old_place_and_is_told() -> None:
    world = power_scenes.missing_while_it_runs()
    carry_out(world, RETURN)
    assert disks(world) == disks(power_scenes.on())
    assert world.rows[DATA].status is DeviceStatus.ATTACHED
    assert told_of(world, "block_device.returned") == [(DATA, None)]


def test_one_that_is_back_with_a_tag_has_the_config_drive_written_anew() -> None:
    world = power_scenes.missing_while_it_runs()
    kept = world.instances[INSTANCE]
    assert kept.specification is not None
    wanted = replace(kept.specification, config_drive=True)
    world.instances[INSTANCE] = replace(kept, specification=wanted)
    world.rows[DATA] = replace(world.rows[DATA], tag="data")

    carry_out(world, RETURN)

    assert META_DATA in world.config_drives[INSTANCE]


def test_one_that_is_still_away_stays_missing() -> None:
    world = power_scenes.missing_while_it_runs()
    world.unreachable.add(DATA_VOLUME)
    refused(world, RETURN, ConnectFailed)


def test_one_that_somebody_saw_to_since_is_left_alone() -> None:
    gone, attached = power_scenes.missing_while_it_runs(), power_scenes.on()
    gone.removed[DATA] = replace(gone.rows.pop(DATA), deleted=True)
    for world in (gone, attached):
        assert steps(world, carry_out(world, RETURN)) == []
    nothing = power_scenes.on()
    del nothing.rows[DATA]
    carry_out(nothing, RETURN)


def test_one_on_a_bus_that_takes_no_disk_waits_for_the_next_start() -> None:
    world = power_scenes.missing_while_it_runs()
    world.rows[DATA] = replace(world.rows[DATA], bus=power_scenes.SATA)
    carry_out(world, RETURN)
    assert world.rows[DATA].status is DeviceStatus.MISSING


def test_so_does_one_of_a_guest_that_is_in_rescue() -> None:
    world = power_scenes.missing_while_it_runs()
    kept = world.instances[INSTANCE]
    world.instances[INSTANCE] = replace(kept, vm_state=VmState.RESCUED)
    carry_out(world, RETURN)
    assert world.rows[DATA].status is DeviceStatus.MISSING


def test_one_that_is_missing_can_be_detached() -> None:
    world = power_scenes.missing_while_it_runs()
    world.unreachable.add(DATA_VOLUME)
    arguments = scenes.detach_arguments() | {"volume_id": DATA_VOLUME, "bdm_uuid": DATA}
    carry_out(world, operation("detach_volume", **arguments))
    assert DATA not in world.rows
    assert DATA_VOLUME not in {held.volume for held in world.attachments.values()}


def test_a_persistent_layout_that_still_shows_it_elsewhere_is_told_anew() -> None:
    world = power_scenes.moved()
    world.rows[DATA] = replace(world.rows[DATA], status=DeviceStatus.MISSING)
    carry_out(world, RETURN)
    found = shown(world.guests[INSTANCE].persistent[ALIAS])
    assert found.source == f"/dev/elsewhere/{DATA_VOLUME}"
