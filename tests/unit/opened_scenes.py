"""Scenes of volumes that QEMU opens with a secret: a login at the storage, and a passphrase."""

from dataclasses import replace

from tests.fakes.world import World
from tests.unit import power_scenes, scenes
from tests.unit.scenes import INSTANCE, VOLUME
from worker.model.guest_secret import usage_of


def guarded() -> World:
    """A free volume whose storage asks for a password, and whose content is encrypted."""
    world = scenes.world()
    world.guarded.add(VOLUME)
    world.volumes[VOLUME] = replace(world.volumes[VOLUME], encrypted=True)
    return world


def reserved() -> World:
    """The same, reserved."""
    world = guarded()
    scenes.reserve(world)
    return world


def off() -> World:
    """A stopped guest each of whose volumes asks for a password."""
    return _asking(power_scenes.off())


def on() -> World:
    """A running one."""
    return _asking(power_scenes.on())


def _asking(world: World) -> World:
    world.guarded |= set(world.volumes)
    guest = world.guests[INSTANCE]
    for row in world.rows.values():
        if not row.local:
            usage = usage_of(INSTANCE, row.uuid)
            for place in (guest.live, guest.persistent):
                if row.alias in place:
                    place[row.alias] = replace(place[row.alias], secret_usage=usage)
    return world
