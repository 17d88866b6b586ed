"""Decide on a new instance: everything that can be refused is refused here, and nothing is made."""

from worker.errors import (
    InstanceNotFound,
    InstanceTaken,
    InstanceWrongState,
    VolumeInUse,
)
from worker.handlers.parts.attachment_of import held
from worker.model.build.checks import check_wanted
from worker.model.build.disks import Facts, is_of, root_row, wanted_disks
from worker.model.build.machine import sketch_of
from worker.model.build.plan import Plan, images_of, planned, sized
from worker.model.build.wanted import Wanted, WantedDisk
from worker.model.ids import VolumeId
from worker.model.instance import Instance, TaskState, VmState
from worker.model.operation import Operation
from worker.model.volume import Volume, VolumeStatus
from worker.ports import Ports

MAY_BE_HELD = (VolumeStatus.RESERVED, VolumeStatus.ATTACHING, VolumeStatus.IN_USE)
"""What a volume may be that has an attachment to this very instance."""


def taken_up(wanted: Wanted, ports: Ports) -> Instance | None:
    """Return the instance if an earlier run of this operation has begun it.

    Raises InstanceTaken when it is another's, InstanceWrongState when it was destroyed since.
    """
    operation = operation_of(ports).id
    try:
        instance = ports.instances.get(wanted.instance_uuid)
    except InstanceNotFound as error:
        if ports.devices.look(root_row(operation)) is None:
            return None
        message = f"instance {wanted.instance_uuid} was destroyed before it was built"
        raise InstanceWrongState(message) from error
    if any(is_of(operation, row) for row in ports.devices.of_instance(instance.uuid)):
        return instance
    message = f"instance {instance.uuid} is in this worker's care already, as {instance.name}"
    raise InstanceTaken(message)


def decided(wanted: Wanted, ports: Ports) -> tuple[Instance, Plan]:
    """Return the instance as it will be, and the plan with its rows.

    What costs most is looked at last: images are fetched when nothing else speaks against it.
    """
    check_wanted(wanted)
    facts = _facts(wanted, ports)
    plan = planned(wanted, facts)
    ports.machines.check(sketch_of(_instance(wanted, plan, ports), plan.rows, plan.interfaces))
    plan = _with_sizes(plan, wanted, facts, ports)
    ports.local_disks.check_room(sum(disk.size for disk in plan.specification.disks))
    return _instance(wanted, plan, ports), plan


def operation_of(ports: Ports) -> Operation:
    """Return the operation that these ports are for."""
    operation = ports.progress.operation
    if operation is None:
        raise AssertionError
    return operation


def _instance(wanted: Wanted, plan: Plan, ports: Ports) -> Instance:
    return Instance(
        uuid=wanted.instance_uuid,
        host=ports.host,
        name=wanted.name,
        vm_state=VmState.BUILDING,
        task_state=TaskState.BUILDING,
        project_id=wanted.project_id,
        user_id=wanted.user_id,
        specification=plan.specification,
    )


def _facts(wanted: Wanted, ports: Ports) -> Facts:
    disks = wanted_disks(wanted)
    volumes = {
        disk.volume_id: _free_volume(disk, disk.volume_id, wanted, ports)
        for disk in disks
        if disk.volume_id is not None
    }
    return Facts(
        operation=operation_of(ports).id,
        images={image: ports.images.show(image) for image in sorted(images_of(wanted))},
        volumes=volumes,
        local_format=ports.local_disk_format,
        max_disk_devices=ports.max_disk_devices,
    )


def _free_volume(disk: WantedDisk, volume: VolumeId, wanted: Wanted, ports: Ports) -> Volume:
    """Return the volume; raises VolumeNotFound, VolumeInUse, and what ``held`` does."""
    found = ports.volumes.show(volume)
    attachment = held(disk.attachment_id, volume, wanted.instance_uuid, ports)
    may_be_held = found.status in MAY_BE_HELD
    if found.status is VolumeStatus.AVAILABLE or (found.multiattach and may_be_held):
        return found
    if attachment is None or not may_be_held:
        message = f"volume {volume} is {found.status}; an available one is meant"
        raise VolumeInUse(message)
    return found


def _with_sizes(plan: Plan, wanted: Wanted, facts: Facts, ports: Ports) -> Plan:
    kernel, ramdisk = plan.specification.kernel, plan.specification.ramdisk
    for image in (kernel, ramdisk):
        if image is not None:
            ports.images.fetch(image)
    files = {image: ports.images.fetch(image) for image in sorted(images_of(wanted))}
    return sized(plan, files, facts.images)
