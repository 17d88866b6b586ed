"""Drift of an instance in rescue: what the rescue does is none, and all else still is."""

from dataclasses import replace

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit.in_rescue_scenes import (
    ALLOWED,
    IMAGES,
    LEGACY,
    attach,
    built,
    off,
    rescue_of,
    rescued,
    reserve,
    row_of_volume,
)
from tests.unit.rescue_scenes import KERNEL_IMAGE, PASSWORD, USB_IMAGE
from tests.unit.scenes import DEVICE, INSTANCE, operation, run
from worker.handlers.find_drift import FindDrift, find_drift
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.ids import ImageId
from worker.model.instance import VmState
from worker.model.places.address import PciAddress
from worker.model.rescue.words import rescue_alias

NOTHING: tuple[list[tuple[object, object]], object] = ([], 0)


def drift(world: World, *, qemu: bool = False) -> tuple[list[tuple[object, object]], object]:
    answer = find_drift(FindDrift(qemu=qemu), fakes.ports(world))
    found = [(each["kind"], each["bdm_uuid"]) for each in answer["differences"]]
    return found, answer["foreign"]


def why_not(world: World) -> str | None:
    (found,) = find_drift(FindDrift(), fakes.ports(world))["differences"]
    said: str | None = found["why_not"]
    return said


def root_of(world: World) -> BlockDevice:
    return next(row for row in world.rows.values() if row.boot_index == 0)


@pytest.mark.parametrize("qemu", [False, True])
@pytest.mark.parametrize("password", [None, PASSWORD])
@pytest.mark.parametrize("image", IMAGES)
def test_a_rescue_is_no_drift(image: ImageId, password: str | None, *, qemu: bool) -> None:
    world = rescued(image, password=password)
    assert drift(world, qemu=qemu) == NOTHING
    assert drift(off(world), qemu=qemu) == NOTHING


def test_nor_is_a_config_drive_foreign_without_one() -> None:
    assert drift(built()) == NOTHING


@pytest.mark.parametrize("image", IMAGES)
def test_a_disk_that_the_next_start_has_lost_is_found_in_rescue_too(image: ImageId) -> None:
    world = rescued(image)
    row = row_of_volume(world)
    del world.guests[INSTANCE].persistent[row.alias]
    assert drift(world) == ([("persistent_missing", row.uuid)], 0)
    assert drift(off(world)) == ([("persistent_missing", row.uuid)], 0)


@pytest.mark.parametrize("image", [USB_IMAGE, KERNEL_IMAGE])
def test_a_disk_that_the_rescue_guest_has_lost_is_found(image: ImageId) -> None:
    world = rescued(image)
    row = row_of_volume(world)
    del world.guests[INSTANCE].live[row.alias]
    assert drift(world) == ([("live_missing", row.uuid)], 0)


def test_a_disk_that_is_elsewhere_in_a_stable_rescue_is_found() -> None:
    world = rescued()
    row = row_of_volume(world)
    live = world.guests[INSTANCE].live
    live[row.alias] = replace(live[row.alias], target="vdy")
    assert drift(world) == ([("live_differs", row.uuid)], 0)


def test_a_root_that_a_legacy_rescue_has_lost_is_found() -> None:
    world = rescued(LEGACY)
    row = root_of(world)
    del world.guests[INSTANCE].live[row.alias]
    assert drift(world) == ([("live_missing", row.uuid)], 0)
    assert "unrescue the instance first" in (why_not(world) or "")


def test_a_root_that_is_elsewhere_than_the_legacy_rescue_has_put_it_is_found() -> None:
    world = rescued(LEGACY)
    row = root_of(world)
    live = world.guests[INSTANCE].live
    live[row.alias] = replace(live[row.alias], target="vdy", address=PciAddress(bus=31, slot=0))
    assert drift(world) == ([("live_differs", row.uuid)], 0)


def test_a_disk_that_a_legacy_rescue_leaves_out_is_not_put_into_it_by_a_repair() -> None:
    world = rescued(LEGACY, allowed=True)
    row = row_of_volume(world)
    del world.guests[INSTANCE].persistent[row.alias]
    assert "unrescue the instance first" in (why_not(world) or "")
    before = world.copy()

    assert run(world, operation("repair_drift", 9, instance_uuid=INSTANCE)).fault is None

    assert world == before


@pytest.mark.parametrize("layout", ["live", "persistent"])
@pytest.mark.parametrize("image", [USB_IMAGE, KERNEL_IMAGE])
def test_where_it_is_allowed_a_disk_is_plugged_in_again(image: ImageId, layout: str) -> None:
    world = rescued(image, allowed=True)
    row = row_of_volume(world)
    disks = getattr(world.guests[INSTANCE], layout)
    was = disks.pop(row.alias)

    ended = run(world, operation("repair_drift", 9, instance_uuid=INSTANCE, qemu=True))

    assert ended.fault is None, ended.fault
    assert getattr(world.guests[INSTANCE], layout)[row.alias] == was
    assert rescue_alias(INSTANCE) in world.guests[INSTANCE].live
    assert drift(world, qemu=True) == NOTHING


def test_what_was_attached_in_a_legacy_rescue_and_is_lost_is_found() -> None:
    world = rescued(LEGACY, allowed=True)
    row = reserve(world)
    assert attach(world).fault is None
    assert drift(world) == NOTHING
    assert row.target in (rescue_of(world).kept or ())
    del world.guests[INSTANCE].live[row.alias]
    assert drift(world) == ([("live_missing", DEVICE)], 0)


@pytest.mark.parametrize("image", IMAGES)
def test_a_disk_of_other_hands_is_foreign_in_rescue_too(image: ImageId) -> None:
    world = rescued(image)
    guest = world.guests[INSTANCE]
    row = row_of_volume(world)
    theirs = replace(
        guest.persistent[row.alias], alias="theirs", target="vdx", serial="x", address=None
    )
    guest.live["theirs"] = guest.persistent["theirs"] = theirs
    assert drift(world) == ([], 1)


def test_a_rescue_disk_that_no_rescue_of_ours_names_is_foreign() -> None:
    world = rescued()
    world.instances[INSTANCE] = replace(
        world.instances[INSTANCE], rescue=None, vm_state=VmState.ACTIVE
    )
    assert drift(world) == ([], 1)
    assert drift(world, qemu=True) == ([], 1)


def test_a_rescue_disk_in_the_next_start_is_foreign() -> None:
    world = rescued()
    guest = world.guests[INSTANCE]
    guest.persistent[rescue_alias(INSTANCE)] = guest.live[rescue_alias(INSTANCE)]
    assert drift(world) == ([], 1)


def test_a_volume_that_is_missing_is_told_and_waits_for_the_unrescue() -> None:
    world = rescued(allowed=True)
    row = row_of_volume(world)
    world.rows[row.uuid] = replace(row, status=DeviceStatus.MISSING)
    assert drift(world) == ([("missing", row.uuid)], 0)
    world.settings = ALLOWED

    asked = operation("return_volume", 9, instance_uuid=INSTANCE, bdm_uuid=row.uuid)
    ended = run(world, asked)

    assert ended.fault is None
    assert world.rows[row.uuid].status is DeviceStatus.MISSING
