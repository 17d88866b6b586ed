"""Say what a rescue would be."""

from dataclasses import dataclass
from typing import Any

from worker.handlers.parts.plan_rescue import (
    check_own_disks,
    known_of,
    rescuable,
    sketch_of,
)
from worker.model.ids import ImageId, InstanceId, OperationId, new_uuid
from worker.model.rescue.side_by_side import side_by_side
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRescue:
    """Call: what ``RescueInstance`` would do with the image."""

    instance_uuid: InstanceId
    rescue_image_ref: ImageId | None = None


def plan_rescue(request: PlanRescue, ports: Ports) -> dict[str, Any]:
    """Return the guest's disks before and in rescue; change nothing.

    Raises what the rescue would be refused with, but for what only the images' content says.
    """
    instance = rescuable(request.instance_uuid, ports)
    check_own_disks(instance, ports)
    known = known_of(instance, request.rescue_image_ref, OperationId(new_uuid()), ports)
    rescue = sketch_of(known, ports)
    for image in (rescue.kernel, rescue.ramdisk):
        if image is not None:
            ports.images.show(image)
    return side_by_side(rescue, known)
