"""A running guest that is to be started again keeps what it has open until it is off."""

from dataclasses import replace

import pytest

from tests.fakes.world import World
from tests.unit import opened_scenes, rescue_scenes
from tests.unit.runs import fault_of
from tests.unit.scenes import INSTANCE, OTHER_VOLUME, run
from worker.model.operation import OperationState


def told_otherwise(**said: object) -> World:
    """The volume service says by now something else of how the volumes are reached."""
    world = opened_scenes.boots_from_it()
    for held in tuple(world.attachments.values()):
        way = held.connection
        assert way is not None
        way = replace(way, properties={**way.properties, **said})
        world.attachments[held.id] = replace(held, connection=way)
    return world


def test_what_is_said_beside_the_way_is_no_other_way() -> None:
    world = told_otherwise(qos_specs={"total_iops_sec": "5"})
    ended = run(world, rescue_scenes.asked(number=61))
    assert ended.state is OperationState.SUCCEEDED, ended.fault
    assert not world.harm


@pytest.mark.parametrize("connected", [False, True])
def test_a_disk_is_not_pulled_from_under_the_guest_that_has_it(*, connected: bool) -> None:
    world = told_otherwise(device_path=f"/dev/{OTHER_VOLUME}")
    if connected:
        world.connected.add(OTHER_VOLUME)
    live = dict(world.guests[INSTANCE].live)
    ended = run(world, rescue_scenes.asked(number=61))
    assert fault_of(ended).code == "connector.failed"
    assert world.guests[INSTANCE].live == live
    assert not world.harm
