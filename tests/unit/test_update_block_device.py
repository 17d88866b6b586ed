"""What is said of a block device is changed, and nothing that its guest sees."""

from dataclasses import replace
from typing import Any

import pytest

from tests.fakes.world import World
from tests.unit import build_scenes, scenes
from tests.unit.runs import fault_of
from tests.unit.scenes import (
    DEVICE,
    INSTANCE,
    OTHER_DEVICE,
    OTHER_VOLUME,
    VOLUME,
    operation,
    run,
)
from worker.model.block_device import BlockDevice
from worker.model.ids import BlockDeviceId, InstanceId
from worker.model.operation import Operation, OperationState


def asked(uuid: BlockDeviceId = DEVICE, **arguments: Any) -> Operation:  # noqa: ANN401
    place = {"instance_uuid": INSTANCE, "bdm_uuid": uuid}
    return operation("update_block_device", number=1, **place | arguments)


def changed(world: World, wanted: Operation) -> BlockDevice:
    ended = run(world, wanted)
    assert ended.state is OperationState.SUCCEEDED, ended.fault
    return world.rows[BlockDeviceId(wanted.arguments["bdm_uuid"])]


@pytest.fixture
def world() -> World:
    """The guest has one volume, and a place for another, which bears a tag."""
    found = scenes.world()
    scenes.attach(found)
    scenes.reserve(found, OTHER_VOLUME, OTHER_DEVICE, tag="theirs")
    return found


def test_only_what_is_given_changes(world: World) -> None:
    before = world.copy()
    row = changed(world, asked(tag="data", delete_on_termination=True))
    assert row == replace(before.rows[DEVICE], tag="data", delete_on_termination=True)
    assert world.events()[-2:] == ["block_device.update.start", "block_device.update.end"]
    assert world.told[-1].block_device == row
    before.rows[DEVICE] = row
    assert world == before


def test_a_flag_alone_leaves_the_tag_and_the_other_way_round(world: World) -> None:
    row = changed(world, asked(OTHER_DEVICE, delete_on_termination=True))
    assert (row.tag, row.delete_on_termination) == ("theirs", True)
    row = changed(world, replace(asked(OTHER_DEVICE, tag="ours"), id=scenes.operation("x", 2).id))
    assert (row.tag, row.delete_on_termination) == ("ours", True)


def test_an_empty_tag_is_none(world: World) -> None:
    assert changed(world, asked(OTHER_DEVICE, tag="")).tag is None


def test_nothing_given_changes_nothing(world: World) -> None:
    before = world.copy()
    changed(world, asked())
    assert world == before


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"tag": "theirs"}, "block_device.tag_taken"),
        ({"tag": "a/b"}, "request.malformed"),
        ({"bdm_uuid": BlockDeviceId("nobodys")}, "block_device.not_found"),
        ({"instance_uuid": InstanceId("nobodys")}, "instance.not_found"),
    ],
)
def test_what_is_refused_leaves_all_as_it_was(
    world: World, arguments: dict[str, Any], code: str
) -> None:
    before = world.copy()
    assert fault_of(run(world, asked(**arguments))).code == code
    assert world == before


def test_a_row_of_another_instance_is_refused() -> None:
    world = scenes.shared()
    assert fault_of(run(world, asked(OTHER_DEVICE))).code == "block_device.wrong_state"


def test_a_row_that_is_gone_is_refused(world: World) -> None:
    run(world, operation("detach_volume", number=7, **scenes.detach_arguments()))
    assert fault_of(run(world, asked(tag="data"))).code == "block_device.wrong_state"


def test_a_local_disk_goes_with_its_instance_and_may_bear_a_tag() -> None:
    world = build_scenes.built()
    local = next(row for row in world.rows.values() if row.local)
    refused = run(world, asked(local.uuid, delete_on_termination=False))
    assert fault_of(refused).code == "block_device.no_volume"
    wanted = replace(asked(local.uuid, tag="root"), id=scenes.operation("x", 2).id)
    assert changed(world, wanted).tag == "root"


def test_the_config_drive_tells_the_new_tag() -> None:
    world = build_scenes.built()
    (row,) = (row for row in world.rows.values() if row.volume == VOLUME)
    changed(world, asked(row.uuid, tag="scratch"))
    told = b"".join(world.config_drives[INSTANCE].values())
    assert b"scratch" in told
    assert b'"data"' not in told
