"""Adopt: a domain that exists gets an instance's row, and nothing else changes."""

import copy
from dataclasses import replace

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit import scenes
from tests.unit.scenes import INSTANCE
from worker.errors import DomainNotFound, InstanceTaken
from worker.handlers.adopt_instance import AdoptInstance, adopt_instance
from worker.model.instance import Instance, VmState


@pytest.fixture
def world() -> World:
    world = scenes.world(VmState.PAUSED)
    world.instances.clear()
    return world


@pytest.mark.parametrize("domain", [INSTANCE, "guest-1"])
def test_a_domain_is_adopted_by_name_or_uuid(world: World, domain: str) -> None:
    guests = copy.deepcopy(world.guests)

    answer = adopt_instance(AdoptInstance(domain=domain), fakes.ports(world))

    row = Instance(uuid=INSTANCE, host="host-1", name="guest-1", vm_state=VmState.PAUSED)
    assert world.instances == {INSTANCE: row}
    assert answer == row.public()
    assert world.guests == guests


def test_a_domain_that_does_not_exist_is_refused(world: World) -> None:
    with pytest.raises(DomainNotFound):
        adopt_instance(AdoptInstance(domain="nobody"), fakes.ports(world))

    assert world.instances == {}


def test_an_instance_is_adopted_once(world: World) -> None:
    adopt_instance(AdoptInstance(domain="guest-1"), fakes.ports(world))
    kept = replace(world.instances[INSTANCE], vm_state=VmState.RESCUED)
    world.instances[INSTANCE] = kept

    with pytest.raises(InstanceTaken):
        adopt_instance(AdoptInstance(domain="guest-1"), fakes.ports(world))

    assert world.instances == {INSTANCE: kept}
