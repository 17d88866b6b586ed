"""Local disks drift too: file, live and persistent layout are compared, and what is safe is mended.

What is not safe: a disk whose file is gone, or is another than the guest had, or unknown.
"""

import copy
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import pytest

from tests import fakes
from tests.fakes.images import disk_path
from tests.fakes.world import World
from tests.unit import build_scenes
from tests.unit.drifts import found, repair
from tests.unit.scenes import INSTANCE, operation, run
from worker.errors import LocalDiskUnavailable
from worker.handlers.find_drift import FindDrift, find_drift
from worker.handlers.parts.local_file import file_of
from worker.model.block_device import BlockDevice, Bus, DeviceStatus
from worker.model.config_drive import META_DATA
from worker.model.operation import OperationState
from worker.model.source import FileSource
from worker.model.update import Event

LAYOUTS = ("live", "persistent")
ELSEWHERE = FileSource(path="/snapshots/overlay")


def ephemeral(world: World) -> BlockDevice:
    """Return the row of a blank local disk on virtio."""
    return next(row for row in world.rows.values() if row.device_name == "/dev/vdb")


def lose(world: World, *layouts: str) -> None:
    """Take the disk out of layouts, as other hands would."""
    for name in layouts:
        getattr(world.guests[INSTANCE], name).pop(ephemeral(world).alias)


def lose_file(world: World) -> None:
    del world.files[disk_path(INSTANCE, ephemeral(world).uuid)]


def adopted() -> World:
    """Return the same guest as other hands would have made it."""
    world = build_scenes.built()
    world.instances[INSTANCE] = replace(world.instances[INSTANCE], specification=None)
    return world


def tagged_again(world: World) -> list[str]:
    """Repair; return the tags that the config drive tells of."""
    assert repair(world).state is OperationState.SUCCEEDED
    told = json.loads(world.config_drives[INSTANCE][META_DATA])["devices"]
    return [tag for disk in told for tag in disk["tags"]]


@pytest.mark.parametrize("name", ["/dev/vdb", "/dev/vdd"])
def test_a_tagged_disk_that_is_brought_back_is_on_the_config_drive(name: str) -> None:
    """One that drift takes for lost may have been lost to the drive too: another hand's, say."""
    world = build_scenes.built()
    row = next(one for one in world.rows.values() if one.device_name == name)
    world.rows[row.uuid] = replace(row, tag="back")
    for layout in LAYOUTS:
        getattr(world.guests[INSTANCE], layout).pop(row.alias)
    world.config_drives[INSTANCE] = {}
    assert "back" in tagged_again(world)


def only(world: World) -> dict[str, object]:
    (difference,) = found(world)
    return difference


def test_what_was_built_has_no_drift() -> None:
    assert found(build_scenes.built()) == []


@pytest.mark.parametrize("older", [False, True])
def test_a_floppy_without_a_serial_is_no_drift(*, older: bool) -> None:
    """Rows of older releases have one all the same."""
    world, floppy = build_scenes.empty(), {"source_type": "blank", "device_type": "floppy"}
    wanted = build_scenes.arguments(block_devices=[{**floppy, "size": 1474560}])
    assert build_scenes.build(world, wanted).fault is None
    row = next(one for one in world.rows.values() if one.bus is Bus.FDC)
    assert row.serial is None
    if older:
        world.rows[row.uuid] = replace(row, serial=row.uuid)
    assert found(world) == []


@pytest.mark.parametrize("layouts", [("live",), ("persistent",), LAYOUTS])
def test_a_local_disk_that_a_layout_lost_is_plugged_in_from_its_file_at_its_place(
    layouts: tuple[str, ...],
) -> None:
    world = build_scenes.built()
    row, before = ephemeral(world), copy.deepcopy(world)
    lose(world, *layouts)
    differences = found(world)
    assert [each["kind"] for each in differences] == [f"{name}_missing" for name in layouts]
    assert {each["repair"] for each in differences} == {
        f"plug the disk in again as vdb at {row.address}"
    }
    assert differences[0]["views"] == {
        "row": "attached",
        "live": "absent" if "live" in layouts else f"vdb at {row.address}",
        "persistent": "absent" if "persistent" in layouts else f"vdb at {row.address}",
        "qemu": "absent" if "live" in layouts else "has it",
        "file": disk_path(INSTANCE, row.uuid),
    }

    ended = repair(world)

    assert ended.state is OperationState.SUCCEEDED, ended.fault
    assert world == before
    told = [update.count for update in world.told if update.event is Event.DRIFT_REPAIRED]
    assert told == [len(layouts)]


@pytest.mark.parametrize("layouts", [("live",), ("persistent",), LAYOUTS])
def test_a_disk_whose_file_is_gone_is_never_plugged_in(layouts: tuple[str, ...]) -> None:
    world = build_scenes.built()
    lose(world, *layouts)
    lose_file(world)
    check_left_alone(world, ("file_missing", *(f"{name}_missing" for name in layouts)))


@pytest.mark.parametrize("make", [build_scenes.built, build_scenes.built_and_shut_off])
def test_a_file_that_is_gone_is_named(make: Callable[[], World]) -> None:
    world = make()
    lose_file(world)
    difference = only(world)
    assert difference["views"]["file"] == "absent"  # type: ignore[index]
    running = bool(world.guests[INSTANCE].live)
    assert ("the running guest has it open" in str(difference["why_not"])) is running
    check_left_alone(world, ("file_missing",))


@pytest.mark.parametrize("lost", LAYOUTS)
def test_a_disk_that_the_guest_has_in_another_file_is_not_plugged_in(lost: str) -> None:
    """What the guest wrote last is in the overlay."""
    world = build_scenes.built()
    lose(world, lost)
    (kept,) = set(LAYOUTS) - {lost}
    disks = getattr(world.guests[INSTANCE], kept)
    alias = ephemeral(world).alias
    disks[alias] = replace(disks[alias], source=ELSEWHERE)
    assert "/snapshots/overlay" in str(only(world)["why_not"])
    check_left_alone(world, (f"{lost}_missing",))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_local_disk_with_another_mark_or_in_another_place_is_named(layout: str) -> None:
    world = build_scenes.built()
    disks = getattr(world.guests[INSTANCE], layout)
    alias = ephemeral(world).alias
    disks[alias] = replace(disks[alias], serial="another")
    check_left_alone(world, (f"{layout}_differs",))


def test_a_disk_of_an_adopted_instance_is_compared_in_the_layouts_only() -> None:
    world = adopted()
    assert found(world) == []
    lose(world, "persistent")
    difference = only(world)
    assert difference["views"]["file"] == "unknown"  # type: ignore[index]
    assert "adopted" in str(difference["why_not"])
    check_left_alone(world, ("persistent_missing",))


def test_a_bus_that_takes_no_disk_while_the_guest_runs_waits_for_its_stop() -> None:
    world = build_scenes.built()
    row = ephemeral(world)
    lose(world, "live")
    world.rows[row.uuid] = replace(row, bus=Bus.SATA)
    disks = world.guests[INSTANCE].persistent
    disks[row.alias] = replace(disks[row.alias], bus=Bus.SATA)
    check_left_alone(world, ("live_missing",))


def test_without_a_domain_the_way_out_is_to_destroy_the_instance() -> None:
    world = build_scenes.built()
    del world.guests[INSTANCE]
    said = {str(each["why_not"]) for each in found(world) if each["volume_id"] is None}
    assert said == {"the hypervisor knows no such domain; define it again, or destroy the instance"}


def test_a_local_disk_that_nobody_is_at_work_on_is_named() -> None:
    world = build_scenes.built()
    row = ephemeral(world)
    world.rows[row.uuid] = replace(row, status=DeviceStatus.ATTACHING)
    assert str(only(world)["why_not"]).endswith("destroy the instance")


def test_every_row_of_an_instance_that_is_being_built_is_in_flux() -> None:
    world = build_scenes.built()
    asked = replace(operation("build_instance", 60), state=OperationState.RUNNING)
    world.operations[asked.id] = asked
    lose(world, "live")
    answer = find_drift(FindDrift(), fakes.ports(world))
    assert answer["differences"] == []
    assert {each["bdm_uuid"] for each in answer["in_flux"]} == set(world.rows)
    assert {each["operation_id"] for each in answer["in_flux"]} == {asked.id}


def test_a_file_that_goes_away_in_mid_repair_is_not_plugged_in() -> None:
    world = build_scenes.built()
    lose(world, "persistent")
    looked_for = len([row for row in world.rows.values() if row.local])
    asked = operation("repair_drift", 61, instance_uuid=INSTANCE)
    ended = run(world, asked, Vanishing(world, looked_for))
    assert ended.state is OperationState.SUCCEEDED, ended.fault
    assert [each["kind"] for each in found(world)] == ["file_missing", "persistent_missing"]


class Vanishing:
    """A watch under which the file goes away after so many looks for one."""

    def __init__(self, world: World, looks: int) -> None:
        self._world = world
        self._looks = looks

    def __call__(self, name: str) -> AbstractContextManager[None]:
        if name == "local_disks.find":
            if self._looks == 0:
                lose_file(self._world)
            self._looks -= 1
        return nullcontext()


def test_no_file_is_made_up_for_what_is_unknown() -> None:
    world = adopted()
    with pytest.raises(LocalDiskUnavailable):
        file_of(ephemeral(world), fakes.ports(world))
    del world.instances[INSTANCE]
    with pytest.raises(LocalDiskUnavailable):
        file_of(ephemeral(world), fakes.ports(world))


def check_left_alone(world: World, kinds: tuple[str, ...]) -> None:
    """What is found has these kinds, each with a reason, and a repair changes nothing."""
    differences = found(world)
    assert tuple(each["kind"] for each in differences) == kinds
    assert all(each["why_not"] and not each["safe"] for each in differences)
    before = copy.deepcopy(world)
    assert repair(world).state is OperationState.SUCCEEDED
    assert world == before
