"""Worlds in which a guest with a disk of each kind is in rescue, or is to be."""

from functools import cache
from typing import Any

from tests.fakes.world import World
from tests.unit import build_scenes, peripheral_scenes, rescue_scenes, scenes
from tests.unit.build_scenes import DATA_VOLUME
from tests.unit.rescue_scenes import CDROM_IMAGE, KERNEL_IMAGE, PLAIN_IMAGE, USB_IMAGE
from tests.unit.scenes import DEVICE, INSTANCE, VOLUME, operation, run
from worker.model.block_device import BlockDevice
from worker.model.disk import Disk
from worker.model.ids import ImageId
from worker.model.instance import VmState
from worker.model.operation import Operation
from worker.model.rescue.words import Rescue, RescueSettings

ALLOWED = RescueSettings(device_operations=True)
STABLE = (USB_IMAGE, KERNEL_IMAGE, CDROM_IMAGE)
LEGACY = PLAIN_IMAGE
IMAGES = (*STABLE, LEGACY)


def built(*, from_volume: bool = False) -> World:
    """A guest with a disk of each kind that runs, and was given a USB stick."""
    made = build_scenes.built_from_volume if from_volume else build_scenes.built
    world = rescue_scenes.with_images(made())
    assert run(world, peripheral_scenes.give_asked(number=peripheral_scenes.EARLIER)).fault is None
    return world


@cache
def _rescued(image: ImageId, password: str | None, *, from_volume: bool) -> World:
    return rescue(built(from_volume=from_volume), image, password=password)


def rescue(
    world: World, image: ImageId, *, password: str | None = None, allowed: bool = False
) -> World:
    """Rescue the guest by the image; return the world."""
    ended = run(world, rescue_scenes.asked(image, password=password))
    assert ended.fault is None, ended.fault
    if allowed:
        world.settings = ALLOWED
    return world


def rescued(
    image: ImageId = USB_IMAGE,
    *,
    allowed: bool = False,
    gone_off: bool = False,
    password: str | None = None,
    from_volume: bool = False,
) -> World:
    """The guest is in rescue by the image; its rescue guest may have gone off."""
    world = _rescued(image, password, from_volume=from_volume).copy()
    if allowed:
        world.settings = ALLOWED
    return off(world) if gone_off else world


def off(world: World) -> World:
    """Let the guest have gone off by itself."""
    guest = world.guests[INSTANCE]
    guest.vm_state, guest.live, guest.live_peripherals = VmState.STOPPED, {}, {}
    return world


def rescue_of(world: World) -> Rescue:
    found = world.instances[INSTANCE].rescue
    assert found is not None
    return found


def reserve(world: World, **arguments: Any) -> BlockDevice:  # noqa: ANN401 - as a caller would
    scenes.reserve(world, DATA_VOLUME, DEVICE, **arguments)
    world.commit()
    return world.rows[DEVICE]


def reserved_just_before(world: World) -> BlockDevice:
    """Plant the row of a reservation that was made in the moment in which the rescue began."""
    earlier = built()
    row = reserve(earlier)
    world.rows[DEVICE] = row
    return row


def row_of_volume(world: World) -> BlockDevice:
    return next(row for row in world.rows.values() if row.volume == VOLUME)


def detach_of(row: BlockDevice) -> Operation:
    return operation(
        "detach_volume", 9, instance_uuid=INSTANCE, volume_id=row.volume, bdm_uuid=row.uuid
    )


def attach(world: World, *watches: Any) -> Operation:  # noqa: ANN401
    return run(world, operation("attach_volume", 8, **scenes.attach_arguments()), *watches)


def unrescue(world: World) -> None:
    ended = run(world, rescue_scenes.back())
    assert ended.fault is None, ended.fault


def shown(world: World, alias: str) -> tuple[Disk | None, Disk | None]:
    guest = world.guests[INSTANCE]
    return guest.live.get(alias), guest.persistent.get(alias)


def code_of(ended: Operation) -> str | None:
    return None if ended.fault is None else ended.fault.code
