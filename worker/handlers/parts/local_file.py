"""Local disks: the files of this host that hold them, made, found and deleted."""

from collections.abc import Iterable

from worker.errors import InstanceNotFound, LocalDiskUnavailable
from worker.model.block_device import BlockDevice
from worker.model.build.machine import specification_of
from worker.model.ids import BlockDeviceId, InstanceId
from worker.model.instance import Instance
from worker.model.source import HostVolume
from worker.model.specification import LocalDisk, Specification
from worker.ports import Ports


def made_local_disks(instance: Instance, ports: Ports) -> dict[BlockDeviceId, HostVolume]:
    """Make what is not there of the instance's local disks; return where each is.

    Raises NoRoom, SpecificationInvalid, and what fetching an image does.
    """
    disks = specification_of(instance).disks
    return {disk.uuid: _made(instance.uuid, disk, ports) for disk in disks}


def delete_local_disks(instance: Instance, ports: Ports) -> None:
    """Delete each local disk that was made for the instance, and its folder if that is empty."""
    for disk in specification_of(instance).disks:
        ports.local_disks.delete(instance.uuid, disk.uuid)
    ports.local_disks.clear(instance.uuid)


def files_of(
    instance: InstanceId, rows: Iterable[BlockDevice], ports: Ports
) -> dict[BlockDeviceId, str | None]:
    """Return the file of each local disk that this worker made; None where it is gone.

    Of a disk of an adopted instance nobody here knows where it should be: it is left out.
    """
    local = [row for row in rows if row.local]
    specification = _specification(instance, ports) if local else None
    made = {row.uuid: specification.disk(row.uuid) for row in local} if specification else {}
    return {
        row: _path(ports.local_disks.find(instance, disk))
        for row, disk in made.items()
        if disk is not None
    }


def file_of(row: BlockDevice, ports: Ports) -> HostVolume:
    """Return where the local disk is; raises LocalDiskUnavailable."""
    disk = _disk(row, ports)
    found = None if disk is None else ports.local_disks.find(row.instance, disk)
    if found is None:
        message = f"the file of local disk {row.uuid} ({row.device_name}) is not on this host"
        raise LocalDiskUnavailable(message)
    return found


def _made(instance: InstanceId, disk: LocalDisk, ports: Ports) -> HostVolume:
    image = None if disk.image is None else ports.images.fetch(disk.image)
    ports.local_disks.create(instance, disk, image)
    found = ports.local_disks.find(instance, disk)
    if found is None:
        message = f"local disk {disk.uuid} is gone as soon as it was made"
        raise LocalDiskUnavailable(message)
    return found


def _disk(row: BlockDevice, ports: Ports) -> LocalDisk | None:
    specification = _specification(row.instance, ports)
    return None if specification is None else specification.disk(row.uuid)


def _specification(instance: InstanceId, ports: Ports) -> Specification | None:
    try:
        return ports.instances.get(instance).specification
    except InstanceNotFound:
        return None


def _path(found: HostVolume | None) -> str | None:
    return None if found is None else found.source.name
