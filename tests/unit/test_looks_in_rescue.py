"""Looks at a guest in rescue: nothing is followed that the rescue itself has done."""

import json
from dataclasses import replace

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit import peripheral_scenes
from tests.unit.in_rescue_scenes import (
    LEGACY,
    built,
    code_of,
    detach_of,
    off,
    rescue,
    rescued,
    row_of_volume,
)
from tests.unit.rescue_scenes import PASSWORD, USB_IMAGE
from tests.unit.scenes import INSTANCE, run
from worker.errors import InstanceNotFound
from worker.handlers.detach_host_device import DetachHostDevice
from worker.handlers.detach_volume import DetachVolume
from worker.handlers.find_drift import FindDrift, find_drift
from worker.handlers.get_device_metadata import GetDeviceMetadata, get_device_metadata
from worker.handlers.heal_ghost import HealGhost, heal_ghost
from worker.handlers.look_at_guest import OwnRequest, look_at_guest, look_for_ghosts
from worker.model.block_device import BlockDevice
from worker.model.ids import ImageId
from worker.model.rescue.words import RescueSettings


def look(world: World) -> tuple[OwnRequest, ...]:
    ports = fakes.ports(world)
    return look_at_guest(INSTANCE, ports) + look_for_ghosts(INSTANCE, ports)


def refused(image: ImageId = USB_IMAGE) -> tuple[World, BlockDevice]:
    """Before it was rescued the guest had refused to let go of its volume and of its USB stick."""
    world = built()
    row, guest = row_of_volume(world), world.guests[INSTANCE]
    guest.busy = True
    for asked in (detach_of(row), peripheral_scenes.take_asked(number=10)):
        assert code_of(run(world, asked)) == "block_device.guest_busy"
    guest.busy = False
    return rescue(world, image, allowed=True), row


def test_a_guest_that_is_in_rescue_as_it_was_decided_needs_nothing() -> None:
    assert look(rescued()) == ()
    assert look(rescued(LEGACY)) == ()
    assert look(off(rescued())) == ()


def test_a_disk_that_a_rescue_leaves_out_was_not_let_go() -> None:
    world, _row = refused(LEGACY)
    assert look(world) == ()
    assert not any(isinstance(one, DetachVolume) for one in look(off(world)))


def test_a_detach_that_the_rescue_guest_allows_too_late_is_finished() -> None:
    world, row = refused()
    assert look(world) == ()
    del world.guests[INSTANCE].live[row.alias]
    world.guests[INSTANCE].live_peripherals = {}
    detach, give_back = look(world)
    assert detach == DetachVolume(
        instance_uuid=INSTANCE, volume_id=row.its_volume, bdm_uuid=row.uuid
    )
    assert isinstance(give_back, DetachHostDevice)


def test_it_is_not_where_no_device_may_change() -> None:
    world, row = refused()
    del world.guests[INSTANCE].live[row.alias]
    world.guests[INSTANCE].live_peripherals = {}
    world.settings = RescueSettings()
    assert look(world) == ()


def test_a_ghost_is_laid_only_where_devices_may_change() -> None:
    world = rescued()
    alias = row_of_volume(world).alias
    del world.guests[INSTANCE].live[alias]
    world.guests[INSTANCE].ghosts.add(alias)
    assert look(world) == ()
    world.settings = RescueSettings(device_operations=True)
    assert look(world) == (HealGhost(instance_uuid=INSTANCE, alias=alias),)


def test_an_instance_that_is_gone_has_no_ghosts() -> None:
    world = rescued()
    world.instances.clear()
    assert look(world) == ()
    with pytest.raises(InstanceNotFound):
        heal_ghost(HealGhost(instance_uuid=INSTANCE, alias="ua-x"), fakes.ports(world))


def test_what_an_instance_that_is_gone_left_is_compared_with_what_its_guest_shows() -> None:
    world = rescued()
    world.instances.clear()
    answer = find_drift(FindDrift(instance_uuid=INSTANCE), fakes.ports(world))
    assert answer["foreign"] == 2


def test_the_metadata_are_those_of_the_guest_as_it_runs() -> None:
    stable, legacy = rescued(), rescued(LEGACY)
    row = row_of_volume(stable)
    (told,) = _metadata(stable)
    assert told["address"] == str(row.address).removeprefix("pci:")
    assert _metadata(legacy) == []
    assert _metadata(off(legacy)) == [told]


def test_a_root_that_had_to_make_room_is_told_where_it_is() -> None:
    world = rescued(LEGACY)
    row = next(row for row in world.rows.values() if row.boot_index == 0)
    world.rows[row.uuid] = replace(row, tag="root")
    shown = world.guests[INSTANCE].live[row.alias]
    assert shown.address != row.address
    (told,) = _metadata(world)
    assert told["address"] == str(shown.address).removeprefix("pci:")


@pytest.mark.parametrize("image", [USB_IMAGE, LEGACY])
def test_so_does_the_config_drive_of_the_rescue(image: ImageId) -> None:
    world = rescued(image, password=PASSWORD)
    (drive,) = (json.loads(text) for text in world.rescue_drives[INSTANCE].values())
    assert drive["devices"] == _metadata(world)
    assert len(drive["devices"]) == (0 if image == LEGACY else 1)


def _metadata(world: World) -> list[dict[str, object]]:
    return get_device_metadata(GetDeviceMetadata(instance_uuid=INSTANCE), fakes.ports(world))
