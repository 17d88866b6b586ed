"""What a rescue would be is told as it will be done, and nothing is touched."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit import build_scenes, power_scenes, scenes
from tests.unit.plan_scenes import CDROM, KERNEL, PLAIN, USB, built, plan, with_images
from tests.unit.scenes import INSTANCE, operation, run
from worker.model.block_device import DeviceType
from worker.model.guest import GuestDisk
from worker.model.ids import ImageId
from worker.model.rescue.side_by_side import What
from worker.model.rescue.words import rescue_alias


def column(disks: list[dict[str, Any]], name: str) -> list[Any]:
    return [disk[name] for disk in disks]


def test_each_disk_is_told_as_what_it_is() -> None:
    found = plan(built())

    every = ["root", "local", "local", "volume", "config drive"]
    assert column(found["before"], "what") == every
    assert column(found["in_rescue"], "what") == [*every, "rescue disk"]
    assert (found["image"], found["mode"], found["boot"]) == (USB, "stable", "firmware")
    assert (found["device_type"], found["bus"]) == ("disk", "usb")
    assert found["instance_uuid"] == INSTANCE


def test_a_stable_rescue_changes_boot_orders_alone() -> None:
    found = plan(built())
    before, after = found["before"], found["in_rescue"]

    assert [{**disk, "boot_order": None} for disk in before] == after[:-1]
    assert column(before, "boot_order") == [1, None, None, None, None]
    assert column(after, "boot_order") == [None, None, None, None, None, 1]
    assert not any(column(after, "moved"))
    assert all(column(before, "in_rescue"))


def test_the_rescue_disk_is_told_as_it_would_be_but_for_its_serial() -> None:
    added = plan(built())["in_rescue"][-1]

    assert added == {
        "what": "rescue disk",
        "was": None,
        "device_name": "/dev/sdb",
        "bus": "usb",
        "address": "usb:0:1",
        "alias": rescue_alias(INSTANCE),
        "serial": None,
        "device_type": "disk",
        "boot_order": 1,
        "in_rescue": True,
        "moved": False,
    }


def test_a_legacy_rescue_tells_what_moves_and_what_is_away() -> None:
    found = plan(built(), PLAIN)
    before, after = found["before"], found["in_rescue"]

    assert found["mode"] == "legacy"
    assert column(before, "in_rescue") == [True, False, False, False, True]
    assert column(before, "moved") == [True, False, False, False, False]
    assert column(after, "what") == ["rescue disk", "root", "config drive"]
    assert column(after, "device_name") == ["/dev/vda", "/dev/vdb", "/dev/sda"]
    assert column(after, "was") == [None, "/dev/vda", "/dev/sda"]
    assert column(after, "moved") == [False, True, False]
    assert after[0]["address"] == before[0]["address"] != after[1]["address"]
    assert after[1]["serial"] == before[0]["serial"]


def test_a_kernel_starts_the_guest_in_place_of_its_firmware() -> None:
    assert plan(built(), KERNEL)["boot"] == "kernel"


def test_a_disk_of_other_hands_is_another() -> None:
    world = built()
    guest = world.guests[INSTANCE]
    (data,) = [alias for alias in guest.persistent if alias == f"ua-{scenes.VOLUME}"]
    guest.persistent["theirs"] = replace(
        guest.persistent[data], alias="", target="vdx", address=None, serial=None
    )

    shown = plan(world)["before"][-1]

    assert (shown["what"], shown["alias"], shown["address"]) == ("other", None, None)
    assert shown["device_name"] == "/dev/vdx"


def test_a_root_on_a_volume_is_the_root() -> None:
    found = plan(with_images(power_scenes.on()))

    assert column(found["before"], "what") == ["root", "volume", "local"]


def test_it_is_plain_and_every_word_is_one_that_is_told() -> None:
    found = plan(built())

    assert json.loads(json.dumps(found)) == found
    assert set(column(found["in_rescue"], "what")) <= set(What)


@pytest.mark.parametrize("image", [USB, PLAIN, CDROM, KERNEL, None])
def test_nothing_is_touched(image: ImageId | None) -> None:
    world = built()
    untouched = world.copy()

    plan(world, image)

    assert world == untouched
    assert (world.steps, world.told, world.pending) == (untouched.steps, untouched.told, [])
    assert world.cached == untouched.cached


def rest(disk: GuestDisk) -> list[Any]:
    return [disk.alias, disk.device, disk.boot_order]


@pytest.mark.parametrize("image", [USB, PLAIN, CDROM, KERNEL, None])
@pytest.mark.parametrize("scene", [built, build_scenes.built_and_shut_off])
def test_the_rescue_is_done_as_it_was_told(
    scene: Callable[[], World], image: ImageId | None
) -> None:
    world = with_images(scene())
    told = plan(world, image)

    wanted = {"instance_uuid": INSTANCE, "rescue_image_ref": image}
    assert run(world, operation("rescue_instance", 60, **wanted)).fault is None

    live = fakes.ports(world).guests.describe(INSTANCE).live
    assert live is not None
    names = ("device_name", "bus", "address", "alias", "device_type", "boot_order")
    assert [[disk[name] for name in names] for disk in told["in_rescue"]] == [
        [f"/dev/{disk.target}", disk.bus, str(disk.address), *rest(disk)] for disk in live.disks
    ]


def test_a_floppy_is_told_as_one() -> None:
    world = built()
    floppy = replace(world.images[USB], properties={"hw_rescue_device": "floppy"})
    world.images[USB] = floppy

    found = plan(world)

    assert found["device_type"] == DeviceType.FLOPPY
    assert found["in_rescue"][-1]["device_name"] == "/dev/fda"
