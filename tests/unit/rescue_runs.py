"""What is asked of operations that rescue and unrescue a guest, and of the world after them."""

from dataclasses import replace
from typing import Any

from tests.fakes.hypervisor import shown
from tests.fakes.world import World
from tests.unit.rescue_scenes import USB_IMAGE
from tests.unit.runs import fault_of
from tests.unit.scenes import INSTANCE, run
from worker.errors import (
    WorkerError,
)
from worker.model.guest import GuestDisk
from worker.model.image import Image
from worker.model.instance import Instance
from worker.model.operation import Operation
from worker.model.rescue.words import rescue_alias

ALIAS = rescue_alias(INSTANCE)
CONFIG = f"ua-config-{INSTANCE}"


def carry_out(world: World, wanted: Operation, *watches: object) -> Operation:
    ended = run(world, wanted, *watches)
    assert ended.fault is None, ended.fault
    assert not world.harm
    return ended


def steps(world: World, ended: Operation) -> list[str]:
    return [step.name for step in world.steps.get(ended.id, [])]


def refused(world: World, wanted: Operation, error: type[WorkerError]) -> str:
    """It fails with the error, the world is as it was, and the guest was not asked off."""
    before = world.copy()
    ended = run(world, wanted)
    fault = fault_of(ended)
    assert fault.code == error.code, fault
    assert world == before
    assert not any(guest.asked for guest in world.guests.values())
    assert not [name for name in steps(world, ended) if name.startswith(("power.", "rescues.s"))]
    return fault.message


def instance(world: World) -> Instance:
    return world.instances[INSTANCE]


def changed(world: World, **how: Any) -> None:  # noqa: ANN401 - any field of the row
    world.instances[INSTANCE] = replace(instance(world), **how)


def with_properties(world: World, **properties: str) -> None:
    world.images[USB_IMAGE] = Image(
        id=USB_IMAGE, name="rescue", format="qcow2", properties=properties
    )


def live(world: World) -> list[GuestDisk]:
    return [shown(disk) for disk in world.guests[INSTANCE].live.values()]


def call(world: World, wanted: Operation, name: str) -> int:
    """Return the number of the call of that name when all goes well."""
    return steps(world, carry_out(world, wanted)).index(name)


def image_gone(world: World) -> None:
    del world.images[USB_IMAGE]


def images_away(world: World) -> None:
    world.images_away = True
