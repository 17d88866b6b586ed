"""The guest of an instance in rescue, and the files of this host that it is made of."""

from worker.errors import DomainNotFound, InstanceWrongState, LocalDiskUnavailable
from worker.handlers.parts.open_again import open_again
from worker.handlers.parts.reach_volume import Ways
from worker.handlers.parts.restore_disks import restore_disks
from worker.model.guest import Guest
from worker.model.ids import ImageId, InstanceId
from worker.model.instance import Instance
from worker.model.machine import Kernel
from worker.model.operation import WORKER_DIED
from worker.model.rescue.plan import in_rescue, layout_of
from worker.model.rescue.words import Rescue, RescueLayout
from worker.model.source import HostVolume
from worker.ports import Ports
from worker.undo import Undo


def rescue_of(instance: Instance) -> Rescue:
    """Return the rescue that was decided for an instance; raises InstanceWrongState."""
    if instance.rescue is None:
        message = f"nothing is kept of a rescue of instance {instance.uuid}"
        raise InstanceWrongState(message)
    return instance.rescue


def make_disk(instance: Instance, ports: Ports) -> None:
    """Make the rescue disk of its image; one that is there is whole, is kept, and needs none."""
    disk = rescue_of(instance).disk
    if ports.local_disks.find(instance.uuid, disk) is None:
        image = ports.images.fetch(rescue_of(instance).image)
        ports.local_disks.create(instance.uuid, disk, image)


def rescue_layout(instance: Instance, ports: Ports) -> RescueLayout:
    """Return the layout with each part where it is; raises LocalDiskUnavailable for the disk."""
    rescue = rescue_of(instance)
    config = ports.config_drives.find(instance.uuid, rescue=True) if rescue.config_drive else None
    return layout_of(
        rescue,
        instance,
        _disk(instance, ports),
        config=None if config is None else config.source,
        kernel=_kernel(rescue, ports),
    )


def run_in_rescue(instance: Instance, layout: RescueLayout, ports: Ports) -> None:
    """Have the guest run in rescue; one that does is fine."""
    ports.rescues.start(instance.uuid, layout)


def resume_in_rescue(instance: Instance, ways: Ways, ports: Ports) -> None:
    """Bring a guest back that was in rescue; one that runs, however, is fine.

    Its volumes are connected anew, as at any start. A start that an earlier run began is only gone
    forward with, and begun again of a guest that is shown in rescue: it may be half started.
    """
    with Undo(ports.progress) as undo:
        begun = ports.progress.reached("rescues.start")
        if begun:
            undo.commit_point()
        guest = ports.guests.describe(instance.uuid)
        if guest.live is None:
            layout = rescue_layout(instance, ports)
            restore_disks(instance, ways, ports)

            undo.by(cut_in_rescue, instance.uuid, ports)
            run_in_rescue(instance, layout, ports)
        elif begun and in_rescue(guest):
            open_again(guest, ways, ports)
            run_in_rescue(instance, rescue_layout(instance, ports), ports)
        undo.commit_point()


def cut_in_rescue(uuid: InstanceId, ports: Ports) -> None:
    """Cut a guest that runs in rescue, and no other: other hands may have started it as it was."""
    guest = _guest(uuid, ports)
    if guest is not None and in_rescue(guest):
        ports.power.cut(uuid)


def cut_as_it_was(uuid: InstanceId, ports: Ports) -> None:
    """Cut a guest that runs as it did before the rescue, and no other."""
    guest = _guest(uuid, ports)
    if guest is not None and runs_as_it_was(guest):
        ports.power.cut(uuid)


def runs_as_it_was(guest: Guest) -> bool:
    """Tell whether the guest runs, and by what is kept of it."""
    return guest.live is not None and not in_rescue(guest)


def went_back(ports: Ports) -> str:
    """Say of an operation that only finishes its way back what an earlier run failed at."""
    operation = ports.progress.operation
    steps = () if operation is None else operation.steps
    failed = [(step.name, step.fault) for step in steps if step.fault is not None]
    why = [f": {name}: {fault.message}" for name, fault in failed if fault != WORKER_DIED]
    return f"an earlier run failed, and this one has only finished its way back{''.join(why[:1])}"


def delete_files(instance: Instance, ports: Ports) -> None:
    """Delete what was made for the rescue alone; what is not there is fine."""
    ports.local_disks.delete(instance.uuid, rescue_of(instance).disk.uuid)
    ports.config_drives.delete(instance.uuid, rescue=True)
    ports.local_disks.tidy(instance.uuid)


def _guest(uuid: InstanceId, ports: Ports) -> Guest | None:
    try:
        return ports.guests.describe(uuid)
    except DomainNotFound:
        return None


def _disk(instance: Instance, ports: Ports) -> HostVolume:
    disk = rescue_of(instance).disk
    found = ports.local_disks.find(instance.uuid, disk)
    if found is None:
        message = f"the rescue disk {disk.uuid} of instance {instance.uuid} is not on this host"
        raise LocalDiskUnavailable(message)
    return found


def _kernel(rescue: Rescue, ports: Ports) -> Kernel | None:
    if rescue.kernel is None:
        return None
    ramdisk = None if rescue.ramdisk is None else _path_of(rescue.ramdisk, ports)
    return Kernel(
        kernel=_path_of(rescue.kernel, ports),
        ramdisk=ramdisk,
        command_line=rescue.command_line,
    )


def _path_of(image: ImageId, ports: Ports) -> str:
    """A rescue that goes on has the copy that it began with, whatever the service has by now."""
    return (ports.images.copy(image) or ports.images.fetch(image)).path
