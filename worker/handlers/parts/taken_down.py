"""An instance at rest, taken down as it can be carried to another host."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from worker.errors import (
    BaseUnavailable,
    DeviceWrongState,
    InstanceWrongState,
    LocalDiskUnavailable,
    StateKept,
)
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.guest import Guest, Layout
from worker.model.host_device import HostDevice
from worker.model.ids import BlockDeviceId
from worker.model.instance import Instance
from worker.model.moving.carried import Base, Carried
from worker.model.peripheral import DeviceRow, Peripheral
from worker.model.specification import LocalDisk
from worker.ports import Ports

AT_REST = (DeviceStatus.ATTACHED, DeviceStatus.MISSING)


def taken_down(instance: Instance, ports: Ports) -> Carried:
    """Return all that there is to carry; changes nothing.

    Raises InstanceRescued, InstanceWrongState unless the guest is off and will be kept by its
    hypervisor, StateKept if that keeps what cannot be carried, DeviceWrongState for a reservation
    that is open, LocalDiskUnavailable, BaseUnavailable.
    """
    instance.check_not_rescued()
    layout = _layout_of_stopped(instance, ports.guests.describe(instance.uuid))
    _check_no_more_is_kept(instance, ports)
    rows = ports.devices.of_instance(instance.uuid)
    others = ports.peripherals.of_instance(instance.uuid)
    _check_at_rest((*rows, *others))
    _check_not_between(rows)
    _check_carried(others)
    volumes = {row.alias for row in rows if not row.local}
    carried = Carried(
        instance=replace(instance, task_state=None),
        rows=rows,
        text=ports.definitions.read(instance.uuid),
        peripherals=others,
        sources={
            disk.alias: disk.source
            for disk in layout.disks
            if disk.alias is not None and disk.source is not None and disk.alias not in volumes
        },
        nvram=_nvram(instance, ports),
    )
    return replace(carried, bases=dict(_bases(carried, ports)))


def _check_no_more_is_kept(instance: Instance, ports: Ports) -> None:
    kept = ports.definitions.keeps(instance.uuid)
    if kept:
        message = (
            f"the hypervisor has {', '.join(kept)} of instance {instance.uuid}, which cannot be"
            " carried: delete them first"
        )
        raise StateKept(message)


def _check_at_rest(rows: Sequence[DeviceRow]) -> None:
    for row in rows:
        if row.status not in AT_REST:
            message = f"device {row.alias} is {row.status}; release or detach it first"
            raise DeviceWrongState(message)


def _check_not_between(rows: Sequence[BlockDevice]) -> None:
    """Of a swap that was given up nobody elsewhere would know the other volume."""
    for row in rows:
        if row.swap is not None:
            message = (
                f"device {row.alias} is between volumes {row.volume} and {row.swap.volume};"
                " ask for a swap to one of these, or detach it first"
            )
            raise DeviceWrongState(message)


def _check_carried(peripherals: Sequence[Peripheral]) -> None:
    for row in peripherals:
        if isinstance(row.what, HostDevice):
            message = f"{row.what} is a device of this host; detach it first"
            raise StateKept(message)


def _layout_of_stopped(instance: Instance, guest: Guest) -> Layout:
    if guest.live is not None or guest.persistent is None:
        message = f"instance {instance.uuid} is {guest.vm_state}; stop its guest first"
        raise InstanceWrongState(message)
    return guest.persistent


def _nvram(instance: Instance, ports: Ports) -> str | None:
    """One that is not there yet is made at the first start, wherever that is."""
    path = ports.definitions.beside(instance.uuid).nvram
    return path if path is not None and ports.host_files.exists(path) else None


def _bases(carried: Carried, ports: Ports) -> Iterator[tuple[BlockDeviceId, Base]]:
    for disk in carried.disks:
        if ports.local_disks.find(carried.instance.uuid, disk) is None:
            message = f"the file of local disk {disk.uuid} is not on this host"
            raise LocalDiskUnavailable(message)
        path = ports.local_disks.base(carried.instance.uuid, disk)
        if path is not None:
            yield disk.uuid, _base(path, disk, ports)


def _base(path: str, disk: LocalDisk, ports: Ports) -> Base:
    copy = None if disk.image is None else ports.images.copy(disk.image)
    if copy is None or copy.path != path:
        message = (
            f"local disk {disk.uuid} is made over {path}, which is no copy of its image that this"
            " worker keeps; flatten the disk (qemu-img rebase -f qcow2 -b '' FILE) and ask again"
        )
        raise BaseUnavailable(message)
    return Base(image=copy.id, path=path, format=copy.format, digest=copy.digest)
