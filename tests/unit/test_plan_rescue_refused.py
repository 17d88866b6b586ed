"""What a rescue would be is refused as the rescue would be, and nothing is touched."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit import build_scenes, scenes
from tests.unit.plan_scenes import USB, built, plan
from tests.unit.scenes import INSTANCE, operation, run
from worker.errors import WorkerError
from worker.handlers.plan_rescue import PlanRescue, plan_rescue
from worker.model.block_device import DeviceStatus
from worker.model.ids import ImageId, InstanceId
from worker.model.instance import TaskState, VmState

NO_IMAGE = ImageId("4e5c0000-0000-4000-8000-000000000009")


def changed(**instance: Any) -> Callable[[World], None]:  # noqa: ANN401
    def change(world: World) -> None:
        world.instances[INSTANCE] = replace(world.instances[INSTANCE], **instance)

    return change


def gone(world: World) -> None:
    world.instances.clear()


def transient(world: World) -> None:
    world.guests[INSTANCE].transient = True


def without_file(world: World) -> None:
    world.files.clear()


def reserved(world: World) -> None:
    scenes.reserve(world, build_scenes.DATA_VOLUME, scenes.OTHER_DEVICE)


def missing(world: World) -> None:
    (row,) = [row for row in world.rows.values() if not row.local]
    world.rows[row.uuid] = replace(row, status=DeviceStatus.MISSING)


def of_another_kind(world: World) -> None:
    world.guests[INSTANCE].kind = "xen"


def saved(world: World) -> None:
    world.guests[INSTANCE].kept = ("a managed save",)


def images_away(world: World) -> None:
    world.images_away = True


def without_domain(world: World) -> None:
    world.guests.clear()


def another_instances(world: World) -> None:
    world.attachments.clear()


def without_kernel(world: World) -> None:
    asked = replace(world.images[USB], properties={"hw_rescue_bus": "usb", "kernel_id": NO_IMAGE})
    world.images[USB] = asked


def with_properties(**properties: str) -> Callable[[World], None]:
    def change(world: World) -> None:
        world.images[USB] = replace(world.images[USB], properties=properties)

    return change


REFUSALS: dict[str, tuple[Callable[[World], None], str]] = {
    "gone": (gone, "instance.not_found"),
    "rescued": (changed(vm_state=VmState.RESCUED), "instance.rescued"),
    "paused": (changed(vm_state=VmState.PAUSED), "instance.wrong_state"),
    "building": (changed(vm_state=VmState.BUILDING), "instance.wrong_state"),
    "released": (changed(task_state=TaskState.RELEASED), "instance.wrong_state"),
    "transient": (transient, "instance.wrong_state"),
    "without a file": (without_file, "local_disk.unavailable"),
    "reserved": (reserved, "instance.not_rescuable"),
    "missing": (missing, "instance.not_rescuable"),
    "no domain": (without_domain, "domain.not_found"),
    "another hypervisor": (of_another_kind, "instance.machine_unsupported"),
    "saved": (saved, "hypervisor.refused"),
    "lun": (with_properties(hw_rescue_device="lun"), "block_device.type_unsupported"),
    "a bus of Xen's": (with_properties(hw_rescue_bus="xen"), "block_device.bus_unsupported"),
    "no controller": (with_properties(hw_rescue_bus="ide"), "block_device.type_unsupported"),
    "volumes": (with_properties(block_device_mapping="[{}]"), "instance.not_rescuable"),
    "another's volume": (another_instances, "attachment.not_found"),
    "no kernel": (without_kernel, "image.not_found"),
    "a bell": (
        with_properties(hw_rescue_bus="usb", kernel_id=USB, os_command_line="\a"),
        "instance.machine_unsupported",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_it_is_refused_as_the_rescue_would_be(name: str) -> None:
    break_it, code = REFUSALS[name]
    world = built()
    break_it(world)
    untouched = world.copy()

    with pytest.raises(WorkerError) as refused:
        plan(world)
    wanted = {"instance_uuid": INSTANCE, "rescue_image_ref": USB}
    ended = run(world, operation("rescue_instance", 60, **wanted))

    assert ended.fault is not None
    assert (refused.value.code, ended.fault.code) == (code, code)
    assert str(refused.value) == ended.fault.message
    assert world == untouched


def test_an_image_service_that_is_away_is_said() -> None:
    world = built()
    images_away(world)

    with pytest.raises(WorkerError) as refused:
        plan(world)
    assert refused.value.code == "image_service.unavailable"


def test_an_instance_of_another_host_is_not_found() -> None:
    nowhere = InstanceId("6f9a5bd0-5d50-4f3c-9c35-1a7c61d2e0ff")

    with pytest.raises(WorkerError) as refused:
        plan_rescue(PlanRescue(instance_uuid=nowhere), fakes.ports(built()))
    assert refused.value.code == "instance.not_found"
