"""Worlds in which a guest is to be rescued, is in rescue, or was when its host went down."""

from dataclasses import replace
from functools import cache
from typing import Any

from tests import fakes
from tests.fakes.world import World
from tests.unit import build_scenes, power_scenes, scenes
from tests.unit.scenes import INSTANCE, operation, run
from worker.model.block_device import DeviceStatus
from worker.model.ids import ImageId
from worker.model.image import Image
from worker.model.instance import VmState
from worker.model.operation import Operation
from worker.model.secret import SEALED, Secret

USB_IMAGE = ImageId("4e5c0000-0000-4000-8000-000000000001")
PLAIN_IMAGE = ImageId("4e5c0000-0000-4000-8000-000000000002")
KERNEL_IMAGE = ImageId("4e5c0000-0000-4000-8000-000000000003")
KERNEL = ImageId("4e5c0000-0000-4000-8000-000000000004")
RAMDISK = ImageId("4e5c0000-0000-4000-8000-000000000005")
CDROM_IMAGE = ImageId("4e5c0000-0000-4000-8000-000000000006")
PASSWORD = "open-sesame-8243"

PROPERTIES: dict[ImageId, dict[str, str]] = {
    USB_IMAGE: {"hw_rescue_bus": "usb"},
    PLAIN_IMAGE: {},
    KERNEL_IMAGE: {
        "hw_rescue_bus": "virtio",
        "kernel_id": KERNEL,
        "ramdisk_id": RAMDISK,
        "os_command_line": "console=ttyS0",
    },
    CDROM_IMAGE: {"hw_rescue_device": "cdrom", "hw_rescue_bus": "sata"},
    KERNEL: {},
    RAMDISK: {},
}


def asked(
    image: ImageId | None = USB_IMAGE,
    *,
    number: int = 60,
    password: str | None = None,
    **more: Any,  # noqa: ANN401 - as a caller of the bus would
) -> Operation:
    """Return a rescue by the image; its password is sealed, as in the journal."""
    wanted = operation(
        "rescue_instance", number, instance_uuid=INSTANCE, rescue_image_ref=image, **more
    )
    if password is None:
        return wanted
    sealed = fakes.FakeSeals().seal(wanted.id, "rescue_password", Secret(password))
    return replace(wanted, arguments={**wanted.arguments, "rescue_password": {SEALED: sealed}})


def back(number: int = 70, **more: Any) -> Operation:  # noqa: ANN401 - as a caller of the bus would
    """Return an unrescue."""
    return operation("unrescue_instance", number, instance_uuid=INSTANCE, **more)


def with_images(world: World) -> World:
    """Let the images be there that a guest is rescued by."""
    for image, properties in PROPERTIES.items():
        world.images[image] = Image(id=image, name=image, format="qcow2", properties=properties)
    return world


def slow(world: World) -> World:
    """Let the guest take its time to go off, and not be asked yet."""
    world.guests[INSTANCE].slow, world.guests[INSTANCE].asked = True, 0
    return world


def on() -> World:
    """A guest that runs, takes its time to go off, and has a local disk only."""
    world = power_scenes.deaf_without_volumes()
    world.guests[INSTANCE].deaf = False
    return slow(with_images(world))


def off() -> World:
    """The same, stopped."""
    return _switched_off(on())


def boots_from_volume() -> World:
    """A guest that runs, and has its root on a volume, and nothing else."""
    return _boots_from_volume().copy()


@cache
def _boots_from_volume() -> World:
    world = scenes.world(VmState.STOPPED)
    scenes.attach(world)
    row = world.rows[scenes.DEVICE]
    world.rows[row.uuid] = replace(row, boot_index=0)
    guest = world.guests[INSTANCE]
    guest.persistent[row.alias] = replace(guest.persistent[row.alias], boot_order=1)
    guest.vm_state, guest.live = VmState.ACTIVE, dict(guest.persistent)
    world.instances[INSTANCE] = replace(world.instances[INSTANCE], vm_state=VmState.ACTIVE)
    return slow(with_images(world))


def off_on_a_booted_host() -> World:
    """It was stopped, and its host was booted since: its volume is not connected."""
    world = _switched_off(boots_from_volume())
    world.connected.clear()
    return world


def built() -> World:
    """A guest that runs, with a disk of each kind and a config drive."""
    return slow(with_images(build_scenes.built()))


def rescued(image: ImageId = USB_IMAGE) -> World:
    """The guest with a local disk, which ran, is in rescue."""
    return _rescued("on", image).copy()


def rescued_while_off() -> World:
    """It is in rescue, and was off before."""
    return _rescued("off", USB_IMAGE).copy()


def rescued_from_volume() -> World:
    """The guest that boots from a volume is in rescue, by a kernel and a ramdisk."""
    return _rescued("boots_from_volume", KERNEL_IMAGE).copy()


def rescued_with_a_password() -> World:
    """The guest that was built is in rescue, with a config drive of its own for it."""
    return _rescued("built", USB_IMAGE, PASSWORD).copy()


def rescued_and_off() -> World:
    """The rescue guest has powered itself off."""
    return _guest_off(rescued())


def rescued_before_the_boot() -> World:
    """Its host went down while it was in rescue, and is back: its volume is not connected."""
    world = _guest_off(rescued_from_volume())
    world.connected.clear()
    return world


def started_by_others() -> World:
    """It is in rescue, and other hands have cut it and started it as it was before."""
    world = rescued()
    guest = world.guests[INSTANCE]
    guest.live = dict(guest.persistent)
    return world


def restored(world: World) -> World:
    """Return the world with each volume where a start would have it."""
    found = world.copy()
    for row in found.rows.values():
        if row.volume is not None and row.status is DeviceStatus.ATTACHED:
            found.connected.add(row.volume)
    return found


def without(world: World) -> World:
    """Return the world as it is when the data volume of the built one could not be reached.

    What its config drive tells of disks is written with the next of them.
    """
    found = world.copy()
    found.config_drives.clear()
    row = next(row for row in found.rows.values() if row.volume is not None)
    found.rows[row.uuid] = replace(row, status=DeviceStatus.MISSING)
    guest = found.guests[INSTANCE]
    guest.live = {alias: disk for alias, disk in guest.live.items() if alias != row.alias}
    guest.persistent = {
        alias: disk for alias, disk in guest.persistent.items() if alias != row.alias
    }
    found.connected.discard(row.its_volume)
    found.connections.pop(row.uuid, None)
    return found


def _switched_off(world: World) -> World:
    world.instances[INSTANCE] = replace(world.instances[INSTANCE], vm_state=VmState.STOPPED)
    return _guest_off(world)


def _guest_off(world: World) -> World:
    guest = world.guests[INSTANCE]
    guest.vm_state, guest.live = VmState.STOPPED, {}
    return world


_WORLDS = {"on": on, "off": off, "boots_from_volume": boots_from_volume, "built": built}


@cache
def _rescued(name: str, image: ImageId, password: str | None = None) -> World:
    world = _WORLDS[name]()
    ended = run(world, asked(image, password=password))
    assert ended.fault is None, ended.fault
    return slow(world)
