"""Scenes of a guest whose volume gives its place to another one."""

from dataclasses import replace
from typing import Any

from tests.fakes.world import World
from tests.unit import opened_scenes, scenes
from tests.unit.scenes import DEVICE, INSTANCE, OTHER_VOLUME, operation
from worker.model.ids import AttachmentId
from worker.model.operation import Operation
from worker.model.volume import GIB, Attachment, AttachmentStatus, VolumeStatus

GIVEN = AttachmentId("a77ac4ed-0000-4000-8000-000000000009")


def attached() -> World:
    """A running guest has one volume; the other one, larger, is free."""
    world = scenes.world()
    scenes.attach(world)
    world.volumes[OTHER_VOLUME] = replace(world.volumes[OTHER_VOLUME], size=2 * GIB)
    return world


def given() -> World:
    """The caller has made the attachment of the new volume."""
    world = attached()
    world.attachments[GIVEN] = Attachment(
        id=GIVEN, volume=OTHER_VOLUME, instance=INSTANCE, status=AttachmentStatus.RESERVED
    )
    world.volumes[OTHER_VOLUME] = replace(world.volumes[OTHER_VOLUME], status=VolumeStatus.RESERVED)
    return world


def guarded() -> World:
    """Both volumes ask for a password, and their content is encrypted."""
    world = opened_scenes.guarded()
    world.guarded.add(OTHER_VOLUME)
    world.volumes[OTHER_VOLUME] = replace(world.volumes[OTHER_VOLUME], encrypted=True)
    scenes.attach(world)
    return world


def asked(number: int = 1, **more: Any) -> Operation:  # noqa: ANN401 - as a caller of the bus would
    """Return the swap of the guest's volume."""
    arguments = {"instance_uuid": INSTANCE, "bdm_uuid": DEVICE, "new_volume_id": OTHER_VOLUME}
    return operation("swap_volume", number=number, **(arguments | more))
