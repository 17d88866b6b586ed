"""What a detach that was cut off leaves on the host, beside what is of other hands."""

from dataclasses import replace

from tests.fakes.world import World
from tests.unit import scenes
from tests.unit.scenes import DEVICE, INSTANCE, VOLUME, operation, run
from worker.model.connection import Connection
from worker.model.guest_secret import SecretUse
from worker.model.leftover import Leftover, LeftoverKind, Part

OURS, THEIRS = "iscsi://192.0.2.1:3260/iqn.ours", "iscsi://192.0.2.1:3260/iqn.theirs"
LUN = f"/dev/{VOLUME}"
"""What the fake's connection to the volume calls its device."""


def session(name: str, target: str, *parts: Part) -> Leftover:
    return Leftover(
        kind=LeftoverKind.SESSION,
        name=name,
        about=target,
        marks=frozenset({target}),
        parts=parts,
    )


def lun(name: str, mark: str, **more: object) -> Part:
    return Part(name=name, marks=frozenset({mark}), **more)  # type: ignore[arg-type]


def a_map(name: str, *paths: Part, used: str | None = None) -> Leftover:
    return Leftover(
        kind=LeftoverKind.MAP,
        name=name,
        about=f"multipath map of {name}",
        wwid="3600",
        parts=paths,
        used=used,
    )


def mount(point: str) -> Leftover:
    mark = frozenset({f"mount:{point}"})
    return Leftover(kind=LeftoverKind.MOUNT, name=point, about="nfs of a server", marks=mark)


def plant(world: World, *things: Leftover) -> World:
    for thing in things:
        world.leftovers[thing.key] = thing
    return world


FOREIGN = session("session9", THEIRS, lun("sdz", f"{THEIRS}/1"))


def detached() -> World:
    """Return a world from which the volume was detached, with a session of other hands."""
    world = plant(scenes.world(), FOREIGN)
    scenes.attach(world)
    said = {"device_path": LUN, "target": OURS}
    way = Connection(protocol="fake", properties=said)
    world.rows[DEVICE] = replace(world.rows[DEVICE], connection=way)
    run(world, operation("detach_volume", number=7, **scenes.detach_arguments()))
    assert not world.rows
    world.removed[DEVICE] = replace(world.removed[DEVICE], connection=way)
    world.told.clear()
    return world


def session_left() -> World:
    return plant(detached(), session("session1", OURS, lun("sdb", LUN)))


def session_left_empty() -> World:
    return plant(detached(), session("session1", OURS))


def device_left() -> World:
    return plant(detached(), session("session1", OURS, lun("sdb", LUN), lun("sdc", "/dev/other")))


def map_left() -> World:
    """The map goes before the session that it is made over."""
    held = lun("sdb", LUN, held=("dm-0",))
    return plant(detached(), session("session1", OURS, held), a_map("dm-0", lun("sdb", LUN)))


def mount_left() -> World:
    world = detached()
    way = Connection(protocol="fake", properties={"device_path": "mount:/mnt/ours"})
    world.removed[DEVICE] = replace(world.removed[DEVICE], connection=way)
    return plant(world, mount("/mnt/ours"), mount("/mnt/theirs"))


def secret_left() -> World:
    world = detached()
    world.secrets[(INSTANCE, DEVICE)] = {SecretUse.ISCSI}
    return world


def everything() -> World:
    world = map_left()
    world.secrets[(INSTANCE, DEVICE)] = {SecretUse.ISCSI}
    return world
