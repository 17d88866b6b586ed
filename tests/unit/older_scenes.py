"""A guest that knows nothing of our aliases: made by other hands, or from before there were any."""

from dataclasses import replace

from tests.fakes.world import FakeGuest, World
from tests.unit import scenes
from tests.unit.scenes import DEVICE, INSTANCE
from worker.model.disk import Disk
from worker.model.source import BlockSource

LIVE_ONLY = ("live",)
BOTH = ("live", "persistent")
OWN = "virtio-disk-vda"
"""What libvirt calls the volume's disk where nobody has said another alias."""


def older(*layouts: str) -> World:
    """Return a world with a volume on the guest, whose layouts have no alias of ours."""
    world = scenes.world()
    scenes.attach(world)
    alias = world.rows[DEVICE].alias
    for layout in layouts or LIVE_ONLY:
        disks = getattr(world.guests[INSTANCE], layout)
        disks["theirs"] = replace(disks.pop(alias), alias="")
    return world


def guest_in(world: World) -> FakeGuest:
    """Return the guest of that world."""
    return world.guests[INSTANCE]


def change(world: World, **facts: object) -> World:
    """Let the running guest have the volume's disk otherwise."""
    disks = guest_in(world).live
    disks["theirs"] = replace(disks["theirs"], **facts)  # type: ignore[arg-type]
    return world


def twin(world: World) -> Disk:
    """Let the running guest have another disk that might be the volume's; return that."""
    found = replace(guest_in(world).live["theirs"], target="vdq", address=None)
    guest_in(world).live["twin"] = found
    return found


def without_facts(world: World) -> World:
    """Let neither row nor next start know where the volume's content is."""
    guest_in(world).transient = True
    guest_in(world).persistent.clear()
    world.rows[DEVICE] = replace(world.rows[DEVICE], connection=None)
    return change(world, serial=None)


ELSEWHERE = BlockSource(path="/dev/elsewhere")
