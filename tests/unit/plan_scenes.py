"""A guest with a disk of each kind, images to rescue it with, and what a rescue would be."""

from typing import Any

from tests import fakes
from tests.fakes.world import World
from tests.unit import build_scenes
from tests.unit.scenes import INSTANCE
from worker.handlers.plan_rescue import PlanRescue, plan_rescue
from worker.model.ids import ImageId
from worker.model.image import Image

USB, PLAIN, CDROM, KERNEL = (ImageId(f"4e5c0000-0000-4000-8000-00000000000{n}") for n in range(4))
NO_IMAGE = ImageId("4e5c0000-0000-4000-8000-000000000009")
PROPERTIES: dict[ImageId, dict[str, str]] = {
    USB: {"hw_rescue_bus": "usb"},
    PLAIN: {},
    CDROM: {"hw_rescue_device": "cdrom", "hw_rescue_bus": "sata"},
    KERNEL: {"hw_rescue_bus": "usb", "kernel_id": PLAIN, "ramdisk_id": USB},
}


def with_images(world: World) -> World:
    for image, properties in PROPERTIES.items():
        world.images[image] = Image(id=image, name=image, format="raw", properties=properties)
    return world


def built() -> World:
    """It runs, with a disk of each kind: root, ephemeral, swap, a volume, a config drive."""
    return with_images(build_scenes.built())


def plan(world: World, image: ImageId | None = USB) -> dict[str, Any]:
    asked = PlanRescue(instance_uuid=INSTANCE, rescue_image_ref=image)
    return plan_rescue(asked, fakes.ports(world))
