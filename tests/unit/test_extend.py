"""Extend: the guest sees what the service and the host have, and nothing is ever made smaller."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests import fakes
from tests.fakes.volume_service import LUKS_HEADER
from tests.fakes.world import World
from tests.unit import extend_scenes, older_scenes, rescue_scenes, scenes
from tests.unit.extend_scenes import SIZE, asked, grow, grown
from tests.unit.runs import fault_of
from tests.unit.scenes import (
    DEVICE,
    INSTANCE,
    OTHER_DEVICE,
    OTHER_INSTANCE,
    VOLUME,
    Crash,
    Refusing,
    Trouble,
    operation,
    run,
)
from worker.errors import VolumeBusy, VolumeFileUnusable
from worker.handlers.find_drift import FindDrift, find_drift
from worker.model.block_device import DeviceStatus
from worker.model.ids import BlockDeviceId, VolumeId
from worker.model.instance import VmState
from worker.model.operation import Operation, OperationState
from worker.model.volume import GIB
from worker.sharing import PatientSharing

ALIAS = f"ua-{VOLUME}"


def told(world: World) -> dict[str, int]:
    return world.guests[INSTANCE].sizes


def steps(world: World, ended: Operation) -> list[str]:
    return [step.name for step in world.steps[ended.id]]


def succeeded(world: World, wanted: Operation) -> Operation:
    ended = run(world, wanted)
    assert ended.state is OperationState.SUCCEEDED, ended.fault
    assert not world.harm
    return ended


def refused(world: World, wanted: Operation) -> str:
    """Return the code; nothing was touched."""
    before = world.copy()
    code = fault_of(run(world, wanted)).code
    assert world == before
    return code


def test_guest_and_row_have_the_new_size_and_it_is_told() -> None:
    world = grown()
    ended = succeeded(world, asked())
    assert told(world) == {ALIAS: SIZE}
    assert world.rows[DEVICE].volume_size == 3
    assert world.events()[-2:] == ["instance.volume_extend.start", "instance.volume_extend.end"]
    row = world.told[-1].block_device
    assert row is not None
    assert (row.uuid, row.volume_size) == (DEVICE, 3)
    assert steps(world, ended)[-2:] == ["guests.describe", "disks.resize"]


def test_asked_again_it_changes_nothing() -> None:
    world = grown()
    succeeded(world, asked())
    after = world.copy()
    succeeded(world, asked(number=2))
    assert world == after


def test_the_row_has_the_size_only_once_the_guest_has() -> None:
    world = grown()
    ended = run(world, asked(), Refusing("disks.resize"))
    assert fault_of(ended, OperationState.STUCK).code == "operation.left_behind"
    assert world.rows[DEVICE].volume_size == 1
    assert world.rows[DEVICE].status is DeviceStatus.ATTACHED


def test_a_storage_that_takes_its_time_is_waited_for() -> None:
    world = grown()
    world.sizes[VOLUME] = GIB

    @contextmanager
    def at_the_third(name: str) -> Iterator[None]:
        calls.append(name)
        if calls.count("connector.extend") == 3:
            world.sizes.pop(VOLUME, None)
        yield

    calls: list[str] = []
    assert run(world, asked(), at_the_third).state is OperationState.SUCCEEDED
    assert calls.count("connector.extend") == 3
    assert told(world) == {ALIAS: SIZE}


def test_a_host_that_never_sees_it_leaves_the_operation_to_an_operator() -> None:
    world = grown()
    world.sizes[VOLUME] = GIB
    before = world.copy()
    fault = fault_of(run(world, asked()), OperationState.STUCK)
    assert f"sees {GIB} bytes" in fault.message
    assert world == before
    assert world.events()[-1] == "operation.stuck"


def test_a_guest_that_is_off_has_nothing_to_be_told() -> None:
    world = grown(VmState.STOPPED)
    ended = succeeded(world, asked())
    assert "disks.resize" not in steps(world, ended)
    assert world.rows[DEVICE].volume_size == 3


def test_a_guest_that_the_hypervisor_lost_has_none_either() -> None:
    world = grown()
    del world.guests[INSTANCE]
    succeeded(world, asked())
    assert world.rows[DEVICE].volume_size == 3


def test_the_guest_sees_what_is_there_even_if_that_is_more() -> None:
    """The service rounds up, or the volume was extended once more since."""
    world = grow(grown(), 5 * GIB)
    succeeded(world, asked())
    assert told(world) == {ALIAS: 5 * GIB}
    assert world.rows[DEVICE].volume_size == 3
    succeeded(world, asked(number=2, new_size=5 * GIB))
    assert world.rows[DEVICE].volume_size == 5


def test_a_disk_that_bears_no_alias_of_ours_is_found() -> None:
    world = grow(older_scenes.older())
    succeeded(world, asked())
    assert told(world) == {"theirs": SIZE}


def test_a_doubt_which_disk_it_is_is_refused_before_the_host_is_touched() -> None:
    world = grow(older_scenes.older())
    older_scenes.twin(world)
    assert refused(world, asked()) == "block_device.ambiguous"


def test_each_guest_of_a_shared_volume_has_its_own() -> None:
    world = extend_scenes.grown_beside_another_guest()
    succeeded(world, asked())
    assert world.guests[OTHER_INSTANCE].sizes == {}
    place = {"instance_uuid": OTHER_INSTANCE, "bdm_uuid": OTHER_DEVICE}
    other = replace(asked(number=2, **place), lane=OTHER_INSTANCE, instance=OTHER_INSTANCE)
    succeeded(world, other)
    assert world.guests[OTHER_INSTANCE].sizes == {ALIAS: SIZE}


@pytest.mark.parametrize(("grow_too", "more"), [(False, []), (True, ["volumes.show", "pool.grow"])])
def test_nobody_else_has_the_volume_from_the_reading_to_the_telling(
    *, grow_too: bool, more: list[str]
) -> None:
    """What had grown once more in between would be cut back to what was read."""
    world = extend_scenes.small() if grow_too else grown()
    kept: list[str] = []

    @contextmanager
    def look(name: str) -> Iterator[None]:
        try:
            with PatientSharing(world.sharing, lambda: 0.0).alone(VOLUME):
                pass
        except VolumeBusy:
            kept.append(name)
        yield

    run(world, asked(grow=grow_too), look)
    assert kept == [*more, "connector.extend", "guests.describe", "disks.resize"]


def test_in_rescue_it_is_refused() -> None:
    assert refused(rescue_scenes.rescued(), asked()) == "instance.rescued"


def test_a_rescue_that_leaves_the_disk_out_leaves_the_guest_untold() -> None:
    """Where the host lets devices change in rescue."""
    world = rescue_scenes.rescued_from_volume()
    world.settings = replace(world.settings, device_operations=True)
    (row,) = (one for one in world.rows.values() if one.volume == VOLUME)
    world.guests[INSTANCE].live.pop(row.alias, None)
    grow(world)
    ended = succeeded(world, asked(bdm_uuid=row.uuid))
    assert "disks.resize" not in steps(world, ended)
    assert world.rows[row.uuid].volume_size == 3


@pytest.mark.parametrize("status", [one for one in DeviceStatus if one != DeviceStatus.ATTACHED])
def test_only_what_is_attached_can_grow(status: DeviceStatus) -> None:
    world = grown()
    world.rows[DEVICE] = replace(world.rows[DEVICE], status=status)
    assert refused(world, asked()) == "block_device.wrong_state"


def test_a_local_disk_cannot_grow() -> None:
    world = grown()
    world.rows[DEVICE] = replace(world.rows[DEVICE], volume=None)
    assert refused(world, asked()) == "block_device.no_volume"


def test_a_row_of_another_instance_is_refused() -> None:
    world = scenes.shared()
    scenes.attach(world)
    grow(world)
    assert refused(world, asked(bdm_uuid=OTHER_DEVICE)) == "block_device.wrong_state"


def test_a_straggler_does_not_touch_a_newer_attachment() -> None:
    world = grown()
    run(world, operation("detach_volume", number=7, **scenes.detach_arguments()))
    assert refused(world, asked()) == "block_device.wrong_state"
    scenes.attach(world, uuid=BlockDeviceId(OTHER_DEVICE))
    grow(world, 4 * GIB)
    assert refused(world, asked(number=2)) == "block_device.superseded"


@pytest.mark.parametrize("size", [0, -1, 2 * GIB])
def test_less_than_is_recorded_is_refused(size: int) -> None:
    world = grown()
    if size > 0:
        succeeded(world, asked(number=9))
    assert refused(world, asked(new_size=size)) == "volume.would_shrink"


def test_a_row_that_knows_no_size_takes_any() -> None:
    world = grown()
    world.rows[DEVICE] = replace(world.rows[DEVICE], volume_size=None)
    succeeded(world, asked())
    assert world.rows[DEVICE].volume_size == 3


def test_what_the_service_has_not_extended_yet_is_refused() -> None:
    world = grow(grown(), SIZE - 1)
    assert refused(world, asked()) == "volume.not_grown"


@pytest.mark.parametrize("forgotten", [True, False])
def test_a_volume_without_its_attachment_is_refused(*, forgotten: bool) -> None:
    world = grown()
    if forgotten:
        world.attachments.clear()
    else:
        world.rows[DEVICE] = replace(world.rows[DEVICE], attachment=None)
    assert refused(world, asked()) == "attachment.not_found"


def test_an_attachment_of_another_volume_is_refused() -> None:
    world = grown()
    held = world.rows[DEVICE].attachment
    assert held is not None
    world.attachments[held] = replace(world.attachments[held], volume=VolumeId("another"))
    assert refused(world, asked()) == "attachment.mismatch"


def test_a_password_that_the_storage_asks_for_is_given_and_a_header_left_to_itself() -> None:
    """The key is not needed for it; that it is lost must not stop what has it."""
    world = extend_scenes.grown_behind_a_password()
    world.lost_keys.add(VOLUME)
    succeeded(world, asked())
    assert told(world) == {ALIAS: SIZE - LUKS_HEADER}
    assert world.rows[DEVICE].volume_size == 3
    assert world.secrets == {}


def test_a_worker_that_dies_before_it_has_written_it_down_does_it_again() -> None:
    world = grown()
    with pytest.raises(Crash):
        run(world, asked(), Trouble(at=5, after=True, error=Crash))
    world.crash()
    assert (told(world), world.rows[DEVICE].volume_size) == ({ALIAS: SIZE}, 1)
    succeeded(world, asked())
    assert world.rows[DEVICE].volume_size == 3


def test_nothing_differs_afterwards() -> None:
    world = grown()
    succeeded(world, asked())
    found = find_drift(FindDrift(), fakes.ports(world))
    assert (found["differences"], found["foreign"]) == ([], 0)


class TestOneOperationThatGrowsThePoolsVolumeToo:
    def test_grows_it_and_has_the_guest_see_it(self) -> None:
        world = extend_scenes.small()
        succeeded(world, asked(grow=True))
        assert world.volumes[VOLUME].size == SIZE
        assert told(world) == {ALIAS: SIZE}
        assert world.rows[DEVICE].volume_size == 3

    def test_grows_nothing_where_it_is_large_enough_already(self) -> None:
        world = grow(grown(), 5 * GIB)
        ended = succeeded(world, asked(grow=True))
        assert "pool.grow" not in steps(world, ended)
        assert world.volumes[VOLUME].size == 5 * GIB

    def test_is_refused_before_anything_is_touched(self) -> None:
        world = extend_scenes.small()
        world.rows[DEVICE] = replace(world.rows[DEVICE], status=DeviceStatus.ERROR)
        before = world.copy()
        assert refused(world, asked(grow=True)) == "block_device.wrong_state"
        assert world == before

    def test_leaves_it_to_the_pool_what_cannot_grow(self) -> None:
        world = extend_scenes.small()
        ended = run(
            world, asked(grow=True), Refusing("pool.check_growth", error=VolumeFileUnusable)
        )
        assert fault_of(ended, OperationState.FAILED).code == VolumeFileUnusable.code
        assert (world.volumes[VOLUME].size, told(world)) == (GIB, {})

    def test_goes_forward_only_from_the_growth_on(self) -> None:
        world = extend_scenes.small()
        ended = run(world, asked(grow=True), Refusing("pool.grow"))
        fault_of(ended, OperationState.STUCK)
        assert ended.past_commit_point
        assert (world.volumes[VOLUME].size, world.rows[DEVICE].volume_size) == (GIB, 1)

    def test_is_not_cut_by_a_growth_of_the_volume_in_between(self) -> None:
        world = extend_scenes.small()

        @contextmanager
        def grown_once_more(name: str) -> Iterator[None]:
            yield
            if name == "pool.check_growth":
                grow(world, 5 * GIB)

        run(world, asked(grow=True), grown_once_more)
        assert world.volumes[VOLUME].size == 5 * GIB
        assert told(world) == {ALIAS: 5 * GIB}
