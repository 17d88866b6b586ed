"""Scenes of a volume that its service has extended under its guest."""

from dataclasses import replace
from typing import Any

from tests.fakes.world import World
from tests.unit import opened_scenes, scenes
from tests.unit.scenes import DEVICE, INSTANCE, VOLUME, operation
from worker.model.instance import VmState
from worker.model.operation import Operation
from worker.model.volume import GIB

SIZE = 3 * GIB


def asked(number: int = 1, **arguments: Any) -> Operation:  # noqa: ANN401 - as a caller of the bus
    """Return the operation that takes the new size over."""
    place = {"instance_uuid": INSTANCE, "bdm_uuid": DEVICE, "new_size": SIZE}
    return operation("extend_volume", number=number, **place | arguments)


def grow(world: World, size: int = SIZE) -> World:
    """Let the service have extended the volume."""
    world.volumes[VOLUME] = replace(world.volumes[VOLUME], size=size)
    return world


def grown(vm_state: VmState = VmState.ACTIVE) -> World:
    """The guest has the volume, and its service has extended it."""
    world = scenes.world(vm_state)
    scenes.attach(world)
    return grow(world)


def grown_beside_another_guest() -> World:
    """Another guest of the host has it, too."""
    world = scenes.shared()
    scenes.attach(world)
    return grow(world)


def grown_behind_a_password() -> World:
    """Who asks its storage for the size must know a password; and the content is encrypted."""
    world = opened_scenes.guarded()
    scenes.attach(world)
    return grow(world)


def small(vm_state: VmState = VmState.ACTIVE) -> World:
    """The guest has the volume, as large as it was made."""
    world = scenes.world(vm_state)
    scenes.attach(world)
    return world
