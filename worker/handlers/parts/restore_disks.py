"""Have the disks of a guest that is off where its next start looks for them."""

from dataclasses import replace

from worker.errors import (
    ConnectFailed,
    InstanceWrongState,
    LocalDiskUnavailable,
    WorkerError,
)
from worker.handlers.parts.find_device import live_disk, make_own, persistent_disk
from worker.handlers.parts.reach_volume import UNREACHABLE, Ways, let_go, reach
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.disk import Disk, disk_of
from worker.model.guest import Guest, GuestDisk
from worker.model.identity.lookup import Found, disk_by_alias
from worker.model.instance import Instance
from worker.model.operation import Fault
from worker.model.source import HostVolume
from worker.model.swap_sides import other_side
from worker.model.update import Event, Update
from worker.ports import Ports

RESTORED = (DeviceStatus.ATTACHED, DeviceStatus.MISSING)
"""Rows whose volume the guest is meant to have."""


def check_startable(instance: Instance, guest: Guest, ports: Ports) -> None:
    """Raise for what a start would fail at for certain; changes nothing.

    InstanceWrongState for a domain that ends with its guest, and for a disk that may be another
    volume by now; LocalDiskUnavailable.
    """
    check_kept(guest)
    _check_undecided(instance, guest, ports)
    _check_local_disks(instance, ports)


def check_kept(guest: Guest) -> None:
    """Raise InstanceWrongState for a domain that ends with its guest."""
    if guest.persistent is None:
        message = f"the hypervisor forgets domain {guest.name} when it is off"
        raise InstanceWrongState(message)


def _check_undecided(instance: Instance, guest: Guest, ports: Ports) -> None:
    """What a stuck operation has left is not restored: its device's path must be its own yet.

    After a boot of the host the kernel gives that path to the first volume that comes.
    """
    for row in ports.devices.of_instance(instance.uuid):
        if row.local or row.status in RESTORED:
            continue
        shown = disk_by_alias(guest.persistent, row.alias)
        if shown is not None and shown.source not in _places(row, ports):
            message = (
                f"block device {row.uuid} is {row.status}, and {shown.source} may be another"
                " volume by now: retry or abandon its operation first"
            )
            raise InstanceWrongState(message)


def _places(row: BlockDevice, ports: Ports) -> set[str]:
    """Return where the row's volume is on this host, or the volumes that it is between."""
    ways = {side.uuid: side.connection for side in (row, other_side(row))}.values()
    found = (ports.connector.find(way) for way in ways if way is not None)
    return {there.source.name for there in found if there is not None}


def check_root(instance: Instance, ways: Ways, ports: Ports) -> None:
    """Raise if the volume that the guest boots from is not the instance's any more."""
    for row in filter(_is_root, _volumes(instance, ports)):
        ways.check(row)


def check_volumes(instance: Instance, ways: Ways, ports: Ports) -> None:
    """Raise if one of the volumes is not the instance's any more."""
    for row in _volumes(instance, ports):
        ways.check(row)


def restore_disks(
    instance: Instance, ways: Ways, ports: Ports, *, without_missing: bool = True
) -> None:
    """Connect each volume, and have the persistent layout name where it is now.

    One that cannot be reached is left out, unless the guest boots from it: its row is ``missing``
    then, and told. What was restored stays so, whether or not the guest starts in the end: a row
    that is attached has its volume on this host, whatever the guest's power. For a guest that is
    not to start ``without_missing`` ones none is left out.
    """
    for row in _volumes(instance, ports):
        try:
            device, volume = reach(row, ways.to(row), ports)
        except UNREACHABLE as error:
            if _is_root(row) or not without_missing:
                raise
            _leave_out(row, error, ports)
        else:
            _put_in(device, volume, ports)


def plug(device: BlockDevice, volume: HostVolume, guest: Guest, ports: Ports) -> None:
    """Have each layout of the guest show the volume where it is.

    A persistent layout that shows it elsewhere, or opened otherwise, is told anew; until then the
    row is missing.
    """
    live_disk(device, guest, ports, volume.source.name)
    shown = persistent_disk(device, guest, ports, volume.source.name)
    make_own(device, shown, ports)
    disk = disk_of(device, volume)
    if shown is not None and not _opens(shown, disk):
        _tell_missing(device, ports)
        ports.disks.forget(device.instance, device.alias)
        shown = None
    if shown is None or guest.live is not None:
        ports.disks.attach(device.instance, disk)


def _opens(shown: Found, disk: Disk) -> bool:
    """Tell whether a start opens the disk where it is, and with what it is opened with."""
    where = shown.device.facts.get("source") == disk.source.name
    device = shown.device if isinstance(shown.device, GuestDisk) else None
    by = (None, None) if device is None else (device.secret_usage, device.opened_by)
    return where and by == (disk.secret_usage, disk.source.opened_by)


def keep_attached(device: BlockDevice, ports: Ports) -> BlockDevice:
    """Keep the row as attached; tell it if it is back."""
    attached = replace(device, status=DeviceStatus.ATTACHED)
    back = ports.devices.get(device.uuid).status is DeviceStatus.MISSING
    ports.devices.save(attached)
    if back:
        _tell(Event.RETURNED, attached, ports)
    return attached


def _put_in(device: BlockDevice, volume: HostVolume, ports: Ports) -> None:
    plug(device, volume, ports.guests.describe(device.instance), ports)
    keep_attached(device, ports)


def _leave_out(device: BlockDevice, error: WorkerError, ports: Ports) -> None:
    """Have the next start do without the volume; its name, address and marks stay reserved."""
    shown = persistent_disk(device, ports.guests.describe(device.instance), ports)
    _tell_missing(device, ports, Fault(code=error.code, message=str(error)))
    make_own(device, shown, ports)
    ports.disks.forget(device.instance, device.alias)
    try:
        let_go(device, ports)
    except ConnectFailed:
        # The record of it stays, for a detach or for when the volume is back.
        return


def _tell_missing(device: BlockDevice, ports: Ports, fault: Fault | None = None) -> None:
    if device.status is not DeviceStatus.MISSING:
        missing = replace(device, status=DeviceStatus.MISSING)
        ports.devices.save(missing)
        _tell(Event.MISSING, missing, ports, fault)


def _tell(event: Event, device: BlockDevice, ports: Ports, fault: Fault | None = None) -> None:
    operation = ports.progress.operation
    ports.updates.tell(
        Update(
            event=event,
            instance=device.instance,
            operation=None if operation is None else operation.id,
            request_id=None if operation is None else operation.request_id,
            block_device=device,
            fault=fault,
        )
    )


def _volumes(instance: Instance, ports: Ports) -> list[BlockDevice]:
    """Return the rows to restore; the one that the guest boots from first.

    A volume of an adopted guest that nobody attached through the volume service is not this host's
    to connect: its layout names it as other hands have left it.
    """
    rows = ports.devices.of_instance(instance.uuid)
    ours = [row for row in rows if row.attachment is not None or row.connection is not None]
    meant = [row for row in ours if not row.local and row.status in RESTORED]
    return sorted(meant, key=lambda row: not _is_root(row))


def _is_root(row: BlockDevice) -> bool:
    return row.boot_index == 0


def _check_local_disks(instance: Instance, ports: Ports) -> None:
    disks = () if instance.specification is None else instance.specification.disks
    names = {row.uuid: row.device_name for row in ports.devices.of_instance(instance.uuid)}
    for disk in disks:
        if disk.uuid in names and ports.local_disks.find(instance.uuid, disk) is None:
            message = f"the file of local disk {disk.uuid} ({names[disk.uuid]}) is not on this host"
            raise LocalDiskUnavailable(message)
