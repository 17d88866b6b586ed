"""What the design that this worker grew from asks to be tested of a disk's identity.

``docs/identity.md`` names for each of its sentences the tests that show it; those that had none
elsewhere are here, and so is what sees to it that each test named there is one.
"""

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit import adopt_scenes, build_scenes, scenes
from tests.unit.scenes import INSTANCE, VOLUME, run
from worker.handlers.reserve_block_device_name import (
    ReserveBlockDeviceName,
    reserve_block_device_name,
)
from worker.model.block_device import BlockDevice
from worker.model.ids import VolumeId, is_uuid

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def reserved() -> World:
    """Who asked gave no id for the row."""
    world = scenes.world()
    wanted = ReserveBlockDeviceName(instance_uuid=INSTANCE, volume_id=VOLUME)
    reserve_block_device_name(wanted, fakes.ports(world))
    return world


def attached() -> World:
    world = scenes.world()
    scenes.attach(world)
    return world


def imported() -> World:
    world, document = adopt_scenes.to_import()
    asked = scenes.operation("import_instance", instance_uuid=INSTANCE, document=document)
    assert run(world, asked).fault is None
    return world


MADE: dict[str, Callable[[], World]] = {
    "reserve": reserved,
    "attach": attached,
    "build": build_scenes.built,
    "build from a volume": build_scenes.built_from_volume,
    "adopt": adopt_scenes.adopted,
    "import": imported,
}


def rows_of(world: World) -> tuple[BlockDevice, ...]:
    return fakes.ports(world).devices.of_instance(INSTANCE)


@pytest.mark.parametrize("way", MADE)
def test_a_new_row_has_a_uuid_however_it_was_made(way: str) -> None:
    rows = rows_of(MADE[way]())
    assert rows
    assert all(is_uuid(row.uuid) for row in rows)
    assert len({row.uuid for row in rows}) == len(rows)


@pytest.mark.parametrize(
    ("make", "volume"),
    [(build_scenes.built, None), (build_scenes.built_from_volume, VOLUME)],
    ids=["local", "volume"],
)
def test_the_hypervisor_is_given_the_root_with_its_row(
    make: Callable[[], World], volume: VolumeId | None
) -> None:
    """Nova keeps a local root from its driver: it is in no list of the driver's block devices."""
    world = make()
    (root,) = [row for row in rows_of(world) if row.boot_index == 0]
    assert root.volume == volume
    guest = world.guests[INSTANCE]
    for layout in (guest.live, guest.persistent):
        disk = layout[root.alias]
        assert (disk.serial, disk.boot_order) == (root.serial, 1)
        assert (disk.target, disk.address) == (root.target, root.address)


@pytest.mark.parametrize("way", ["build", "build from a volume", "attach"])
def test_the_hypervisor_is_given_the_volumes_id_or_the_rows_uuid_as_serial(way: str) -> None:
    world = MADE[way]()
    guest = world.guests[INSTANCE]
    for row in rows_of(world):
        assert row.serial == (row.uuid if row.volume is None else row.volume)
        for layout in (guest.live, guest.persistent):
            assert layout[row.alias].serial == row.serial


def test_what_was_adopted_is_given_the_same_unless_it_had_a_serial() -> None:
    world = adopt_scenes.adopted()
    kept = world.guests[INSTANCE].persistent
    for row in rows_of(world):
        had = {"vdc": "DATA-1"}.get(row.target)
        assert row.serial == (had or row.volume or row.uuid)
        assert kept[row.alias].serial == row.serial


def test_every_test_that_the_page_names_is_one() -> None:
    page = (ROOT / "docs" / "identity.md").read_text()
    named = NAMED.findall(page)
    # Each row of the table names one at least.
    sentences = [line for line in page.splitlines() if line.startswith("| *")]
    assert len(sentences) == len([line for line in sentences if NAMED.search(line)]) == 10
    missing = [f"{path}::{name}" for path, name in named if name not in named_in(ROOT / path)]
    assert missing == []
    assert page.count("tests/") == len(named)


def named_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text()) if path.exists() else ast.Module(body=[], type_ignores=[])
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
