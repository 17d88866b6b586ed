"""Scenes of volumes that QEMU opens with a secret: a login at the storage, and a passphrase."""

from dataclasses import replace

from tests.fakes.world import World
from tests.unit import power_scenes, rescue_scenes, scenes
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


def boots_from_it() -> World:
    """A guest that runs, from a volume that asks for a password."""
    return _asking(rescue_scenes.boots_from_volume())


def rescued() -> World:
    """The same, in rescue."""
    return _asking(rescue_scenes.rescued_from_volume())


def ran_before_the_boot() -> World:
    """A guest of such volumes ran when its host went down."""
    return _asking(power_scenes.ran_before_the_boot())


def missing() -> World:
    """One of them was not to be reached when the guest started."""
    return _asking(power_scenes.missing_while_it_runs())


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
