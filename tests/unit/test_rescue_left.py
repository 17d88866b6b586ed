"""A rescue that is stuck, given up, ended by other hands, or cut short by a boot of its host."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit import power_scenes, rescue_scenes
from tests.unit.rescue_runs import (
    call,
    carry_out,
    changed,
    instance,
    steps,
)
from tests.unit.rescue_scenes import asked, back
from tests.unit.runs import fault_of
from tests.unit.scenes import INSTANCE, VOLUME, Crash, Refusing, Trouble, operation, run
from worker.errors import (
    InstanceRescued,
    LocalDiskUnavailable,
)
from worker.handlers.adopt_instance import AdoptInstance, adopt_instance
from worker.handlers.export_instance import ExportInstance, export_instance
from worker.handlers.look_at_guest import look_at_guest
from worker.handlers.resume_instance import ResumeInstance
from worker.model.instance import VmState
from worker.model.operation import Operation, OperationState
from worker.rpc.methods import CALLS


def stuck_rescue() -> World:
    """The rescue guest did not start, and neither did the guest as it was."""
    world = rescue_scenes.on()
    ended = run(world, asked(), Refusing("rescues.start"), Refusing("power.start"))
    assert ended.state is OperationState.STUCK
    assert "run again" in fault_of(ended, OperationState.STUCK).message
    return world


def abandon(world: World, wanted: Operation) -> str:
    ports = fakes.ports(world)
    handler = CALLS["abandon_operation"]
    answer = handler.handler(handler.request(operation_id=wanted.id), ports)
    world.commit()
    said: str = answer["message"]
    return said


def test_a_rescue_that_is_stuck_on_its_way_back_only_finishes_that() -> None:
    world = stuck_rescue()
    fakes.ports(world).stuck.reopen(asked().id)
    message = fault_of(run(world, asked())).message
    assert "an earlier run failed" in message
    assert "rescues.start" in message
    assert world == rescue_scenes.on()


@pytest.mark.parametrize("by_others", [False, True])
def test_a_guest_that_was_seen_off_meanwhile_is_called_running_once_it_runs(
    *, by_others: bool
) -> None:
    world = stuck_rescue()
    carry_out(world, operation("sync_power_state", number=9, instance_uuid=INSTANCE))
    assert instance(world).vm_state is VmState.STOPPED
    if by_others:
        fakes.ports(world).power.start(INSTANCE)
    fakes.ports(world).stuck.reopen(asked().id)
    assert "an earlier run failed" in fault_of(run(world, asked())).message
    assert world == rescue_scenes.on()


def test_one_that_is_given_up_is_in_rescue_and_an_unrescue_brings_it_back() -> None:
    world = stuck_rescue()
    carry_out(world, operation("sync_power_state", number=9, instance_uuid=INSTANCE))
    assert instance(world).vm_state is VmState.STOPPED
    assert "is in rescue" in abandon(world, asked())
    rescue = instance(world).rescue
    assert instance(world).vm_state is VmState.RESCUED
    assert rescue is not None
    assert rescue.since is not None
    assert fault_of(run(world, asked(number=62))).code == InstanceRescued.code
    carry_out(world, back())
    assert world == rescue_scenes.on()


def test_one_that_never_began_is_not() -> None:
    world = rescue_scenes.on()
    for _ in range(5):
        with pytest.raises(Crash):
            run(world, asked(), Trouble(at=5, error=Crash))
        world.crash()
    assert run(world, asked()).state is OperationState.STUCK
    assert abandon(world, asked()) == "no block device was held"
    assert instance(world).vm_state is VmState.ACTIVE


def test_what_is_not_of_an_instance_that_is_there_holds_nothing() -> None:
    world = stuck_rescue()
    world.instances.clear()
    assert abandon(world, asked()) == "no block device was held"


def test_an_unrescue_that_is_given_up_can_be_asked_for_again() -> None:
    world = rescue_scenes.rescued()
    ended = run(world, back(), Refusing("local_disks.delete"))
    assert ended.state is OperationState.STUCK
    abandon(world, back())
    assert instance(world).vm_state is VmState.RESCUED
    carry_out(world, back(71))
    assert world == rescue_scenes.on()


@pytest.mark.parametrize(
    "left", [stuck_rescue, rescue_scenes.rescued, rescue_scenes.rescued_with_a_password]
)
def test_whatever_is_left_of_a_rescue_is_destroyed_with_the_instance(
    left: Callable[[], World],
) -> None:
    world = left()
    carry_out(world, operation("destroy_instance", number=80, instance_uuid=INSTANCE))
    assert (world.files, world.rescue_drives, world.guests) == ({}, {}, {})


def test_that_of_an_adopted_instance_too_and_nothing_else() -> None:
    world = rescue_scenes.rescued_from_volume()
    theirs = power_scenes.LOCAL
    world.files[f"/local/{INSTANCE}/{theirs}"] = next(iter(world.files.values()))
    carry_out(world, operation("destroy_instance", number=80, instance_uuid=INSTANCE))
    assert list(world.files) == [f"/local/{INSTANCE}/{theirs}"]


# By other hands, and by a boot of the host.


def test_a_rescue_guest_that_goes_off_is_still_in_rescue() -> None:
    world = rescue_scenes.rescued_and_off()
    before = world.copy()
    carry_out(world, operation("sync_power_state", number=9, instance_uuid=INSTANCE))
    assert world == before


def test_after_a_boot_of_the_host_it_is_in_rescue_again() -> None:
    world = rescue_scenes.rescued_before_the_boot()
    carry_out(world, operation("resume_instance", instance_uuid=INSTANCE))
    assert world == rescue_scenes.rescued_from_volume()
    assert world.connected == {VOLUME}


def test_one_that_runs_by_then_is_left_alone() -> None:
    for world in (rescue_scenes.rescued(), rescue_scenes.started_by_others()):
        before = world.copy()
        ended = carry_out(world, operation("resume_instance", instance_uuid=INSTANCE))
        assert steps(world, ended) == ["guests.describe"]
        assert world == before


def test_one_whose_rescue_disk_is_gone_stays_off_and_can_be_unrescued() -> None:
    world = rescue_scenes.rescued_before_the_boot()
    world.files.clear()
    ended = run(world, operation("resume_instance", instance_uuid=INSTANCE))
    assert fault_of(ended).code == LocalDiskUnavailable.code
    carry_out(world, back())
    assert world == rescue_scenes.boots_from_volume()


def test_a_start_that_a_crash_cut_off_is_only_gone_forward_with() -> None:
    world = rescue_scenes.rescued_before_the_boot()
    resume = operation("resume_instance", instance_uuid=INSTANCE)
    at = call(world.copy(), resume, "rescues.start")
    with pytest.raises(Crash):
        run(world, resume, Trouble(at=at, after=True, error=Crash))
    world.crash()
    made = steps(world, carry_out(world, resume, Trouble(at=0)))
    assert "power.cut" not in made
    assert world == rescue_scenes.rescued_from_volume()


def test_a_look_after_the_boot_calls_for_it() -> None:
    world = rescue_scenes.rescued_before_the_boot()
    wanted = (ResumeInstance(instance_uuid=INSTANCE),)
    assert look_at_guest(INSTANCE, fakes.ports(world), resume=True) == wanted


@pytest.mark.parametrize(
    ("there", "resume"),
    [
        (rescue_scenes.rescued_before_the_boot, False),
        (rescue_scenes.rescued, True),
        (rescue_scenes.started_by_others, True),
    ],
)
def test_no_other_look_does(there: Callable[[], World], *, resume: bool) -> None:
    assert look_at_guest(INSTANCE, fakes.ports(there()), resume=resume) == ()


def test_a_domain_that_is_gone_is_not_brought_back() -> None:
    world = rescue_scenes.rescued()
    world.guests.clear()
    assert look_at_guest(INSTANCE, fakes.ports(world), resume=True) == ()


@pytest.mark.parametrize("there", [rescue_scenes.rescued, rescue_scenes.rescued_and_off])
def test_it_is_not_carried_to_another_host(there: Callable[[], World]) -> None:
    with pytest.raises(InstanceRescued):
        export_instance(ExportInstance(instance_uuid=INSTANCE), fakes.ports(there()))


def test_a_domain_of_nobody_that_runs_in_rescue_is_not_adopted() -> None:
    world = rescue_scenes.rescued_from_volume()
    world.instances.clear()
    world.rows.clear()
    with pytest.raises(InstanceRescued):
        adopt_instance(AdoptInstance(domain="guest-1"), fakes.ports(world))
    assert world.instances == {}


def test_a_rescue_past_its_commit_point_only_says_so() -> None:
    world = rescue_scenes.rescued()
    ended = world.operations[asked().id]
    world.operations[ended.id] = replace(ended, state=OperationState.STUCK)
    changed(world, vm_state=VmState.ACTIVE)
    made = len(steps(world, ended))
    fakes.ports(world).stuck.reopen(ended.id)
    carry_out(world, asked())
    assert len(steps(world, ended)) == made
    assert instance(world).vm_state is VmState.RESCUED
