"""Decide on a rescue: everything that can be refused is refused here, and nothing is made."""

from worker.errors import InstanceWrongState, NotRescuable
from worker.handlers.parts.config_drive import has_config_drive
from worker.handlers.parts.instance_here import instance_here
from worker.handlers.parts.reach_volume import Ways
from worker.handlers.parts.restore_disks import check_startable, check_volumes
from worker.model.build.machine import NOWHERE
from worker.model.identity.alias import config_drive_alias
from worker.model.ids import ImageId, InstanceId, OperationId
from worker.model.image import Image
from worker.model.instance import Instance, PowerChange
from worker.model.machine import Kernel
from worker.model.rescue.known import Known
from worker.model.rescue.plan import image_for, layout_of, planned, sized
from worker.model.rescue.words import Rescue
from worker.ports import Ports


def rescuable(uuid: InstanceId, ports: Ports) -> Instance:
    """Return the instance if it is in a state to be rescued in.

    Raises InstanceNotFound, InstanceRescued, InstanceWrongState.
    """
    instance = instance_here(uuid, ports)
    instance.check_takes(PowerChange.RESCUE)
    if instance.rescue is not None:
        message = (
            f"instance {uuid} is half in rescue, by operation {instance.rescue.operation}: wait for"
            " its end, or retry or abandon it if it is stuck"
        )
        raise InstanceWrongState(message)
    return instance


def check_own_disks(instance: Instance, ports: Ports) -> None:
    """Raise unless each disk of the instance can be there in rescue; changes nothing.

    InstanceWrongState for a domain that ends with its guest, LocalDiskUnavailable, and what says
    that a volume is not the instance's any more.
    """
    check_startable(instance, ports.guests.describe(instance.uuid), ports)
    check_volumes(instance, Ways(ports), ports)


def sketched(
    instance: Instance, wanted: ImageId | None, operation: OperationId, ports: Ports
) -> tuple[Rescue, Image]:
    """Return the rescue as far as it can be told without the image's content.

    Raises ImageNotFound, ImagesUnavailable, NotRescuable, BusUnsupported, DeviceTypeUnsupported,
    TooManyDevices, NoFreePort, and MachineUnsupported for what the hypervisor refuses.
    """
    known = known_of(instance, wanted, operation, ports)
    return sketch_of(known, ports), known.image


def known_of(
    instance: Instance, wanted: ImageId | None, operation: OperationId, ports: Ports
) -> Known:
    """Return what is known of instance, guest and image.

    Raises ImageNotFound, ImagesUnavailable, DomainNotFound, NotRescuable.
    """
    return Known(
        operation=operation,
        instance=instance,
        guest=ports.guests.describe(instance.uuid),
        rows=ports.devices.of_instance(instance.uuid),
        peripherals=ports.peripherals.of_instance(instance.uuid),
        image=ports.images.show(image_for(wanted, instance, ports.rescue)),
        settings=ports.rescue,
        local_format=ports.local_disk_format,
    )


def sketch_of(known: Known, ports: Ports) -> Rescue:
    """Return the rescue as far as it can be told; raises as ``sketched`` does."""
    rescue, instance = planned(known), known.instance
    layout = layout_of(rescue, instance, NOWHERE, kernel=_kernel_nowhere(rescue))
    ports.rescues.check(instance.uuid, layout)
    return rescue


def _kernel_nowhere(rescue: Rescue) -> Kernel | None:
    """Return the kernel before it is here, with what the image's owner would have it told."""
    if rescue.kernel is None:
        return None
    return Kernel(kernel=NOWHERE.source.name, command_line=rescue.command_line)


def with_content(rescue: Rescue, image: Image, ports: Ports) -> Rescue:
    """Return it with its size, once each image is on this host, inspected, and there is room.

    Raises ImageRefused, ImageNotFound, ImagesUnavailable, NoRoom.
    """
    for other in (rescue.kernel, rescue.ramdisk):
        if other is not None:
            ports.images.fetch(other)
    found = sized(rescue, ports.images.fetch(rescue.image), image)
    ports.local_disks.check_room(found.disk.size)
    return found


def check_password_can_be_told(instance: Instance, ports: Ports) -> None:
    """Raise NotRescuable for an instance without a config drive of ours to put it on.

    One that other hands took out of its domain is none; raises DomainNotFound, too.
    """
    if not has_config_drive(instance) or not _is_plugged_in(instance.uuid, ports):
        message = (
            f"instance {instance.uuid} has no config drive to put a rescue password on; ask without"
            " one"
        )
        raise NotRescuable(message)


def _is_plugged_in(instance: InstanceId, ports: Ports) -> bool:
    kept = ports.guests.describe(instance).persistent
    disks = () if kept is None else kept.disks
    return any(disk.alias == config_drive_alias(instance) for disk in disks)
