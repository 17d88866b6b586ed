"""A document whose domain names no device, as an older host writes it, is taken in all the same."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests import fakes
from tests.fakes.hypervisor import shown
from tests.fakes.moving import FakeDefinitions
from tests.fakes.world import FakeGuest, World
from tests.unit import adopt_scenes, move_scenes
from tests.unit.scenes import INSTANCE, VOLUME, operation, run
from worker.errors import DeviceAmbiguous
from worker.handlers.check_import import CheckImport, check_import
from worker.model.block_device import DeviceType
from worker.model.operation import Operation

RANDOM = {"attachment_id": None}


def adopted() -> tuple[World, str]:
    return adopt_scenes.to_import()


def built() -> tuple[World, str]:
    return move_scenes.to_import()


def bare(world: World, document: str, change: Callable[[FakeGuest], None] | None = None) -> str:
    """Return the document as it would be without aliases; ``change`` what its domain is else."""
    found = json.loads(document)
    kept = world.texts[found["domain_xml"]]
    disks = [replace(disk, alias="") for disk in kept.persistent.values()]
    nameless = replace(kept, persistent={f"?{disk.target}": disk for disk in disks})
    if change is not None:
        change(nameless)
    world.texts[f"{INSTANCE} bare"] = nameless
    return json.dumps(found | {"domain_xml": f"{INSTANCE} bare"})


def bring(world: World, document: str) -> Operation:
    return run(world, operation("import_instance", instance_uuid=INSTANCE, document=document))


def marks(world: World) -> dict[str, Any]:
    return {
        alias: replace(shown(disk), source=None)
        for alias, disk in world.guests[INSTANCE].persistent.items()
    }


@pytest.mark.parametrize("arrived", [adopted, built])
def test_each_disk_is_found_and_is_what_it_was(
    arrived: Callable[[], tuple[World, str]],
) -> None:
    with_them, document = arrived()
    assert bring(with_them, document).fault is None
    world, document = arrived()
    assert bring(world, bare(world, document)).fault is None
    assert marks(world) == marks(with_them)
    assert [row.public() | RANDOM for row in world.rows.values()] == [
        row.public() | RANDOM for row in with_them.rows.values()
    ]
    sources = {disk.source for disk in world.guests[INSTANCE].persistent.values()}
    assert sources == {disk.source for disk in with_them.guests[INSTANCE].persistent.values()}


def test_a_text_that_has_all_aliases_is_not_touched() -> None:
    world, document = adopted()
    before = dict(world.texts)
    bring(world, document)
    assert world.texts == before


def refused(world: World, document: str) -> str:
    with pytest.raises(DeviceAmbiguous) as raised:
        check_import(CheckImport(document=document), fakes.ports(world))
    ended = bring(world, document)
    assert ended.fault is not None
    assert ended.fault.code == DeviceAmbiguous.code
    assert INSTANCE not in world.guests
    return str(raised.value)


def test_a_disk_of_which_nothing_says_what_it_is_made_of_is_refused() -> None:
    world, document = adopted()
    unknown = json.dumps(json.loads(bare(world, document)) | {"sources": {}})
    assert "may be it" in refused(world, unknown)


def test_a_disk_in_the_place_of_a_row_that_is_another_is_refused() -> None:
    world, document = adopted()

    def without_serials(guest: FakeGuest) -> None:
        guest.persistent = {
            name: replace(disk, serial=None) for name, disk in guest.persistent.items()
        }

    found = json.loads(bare(world, document, without_serials))
    world.other_files.add("/elsewhere")
    found["sources"] = dict.fromkeys(found["sources"], "/elsewhere")
    assert "nothing says" in refused(world, json.dumps(found))


def test_a_doubt_is_refused_and_both_are_named() -> None:
    world, document = adopted()

    def double(guest: FakeGuest) -> None:
        disk = next(one for one in guest.persistent.values() if one.serial == VOLUME)
        guest.persistent["?vdz"] = replace(disk, target="vdz", address=None)

    assert "vdz" in refused(world, bare(world, document, double))


def test_a_config_drive_that_is_not_there_or_twice_is_refused() -> None:
    world, document = built()

    def take_away(guest: FakeGuest) -> None:
        for name, disk in list(guest.persistent.items()):
            if disk.device_type is DeviceType.CDROM:
                del guest.persistent[name]

    assert "0 disks that may be" in refused(world, bare(world, document, take_away))


def test_the_text_of_a_domain_is_read() -> None:
    world, document = adopted()
    text = json.loads(document)["domain_xml"]
    layout = FakeDefinitions(world).layout(text)
    assert {disk.alias for disk in layout.disks} == set(world.texts[text].persistent)
