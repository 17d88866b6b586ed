"""Which disk of a guest is a row's: the look-up, with what this host knows of the row's content.

Every handler that looks for a device comes through here: what is found without its alias is
counted and named in the log, for it is a guest that other hands have made, or made anew.
"""

import logging
from dataclasses import replace
from typing import assert_never

from worker.errors import DomainNotFound, HypervisorRefused, InstanceNotFound
from worker.handlers.parts.local_file import files_of
from worker.model.block_device import BlockDevice
from worker.model.guest import (
    Guest,
    GuestDevice,
    GuestDisk,
    GuestHostDevice,
    GuestInterface,
    Layout,
)
from worker.model.identity.lookup import (
    DeviceKind,
    Doubt,
    Found,
    Sought,
    disk_by_alias,
    find,
    find_live,
    look_up,
    look_up_live,
    may_have,
)
from worker.model.identity.marking import MarkChange, marks_of
from worker.model.identity.sought import sought_disk
from worker.model.ids import InstanceId
from worker.model.peripheral import DeviceRow
from worker.model.rescue.meanwhile import as_rows_say
from worker.model.rescue.plan import in_rescue
from worker.model.rescue.words import Rescue
from worker.model.source import HostVolume
from worker.ports import Ports

LOG = logging.getLogger(__name__)


def live_disk(
    row: BlockDevice, guest: Guest, ports: Ports, source: str | None = None
) -> Found | None:
    """Return the row's disk in the running guest; raises DeviceAmbiguous.

    ``source`` is where its content is, for those who know; else it is looked for.
    """
    found = find_live(guest, _sought(row, guest.live, ports, source))
    note(row, found, ports)
    return found


def persistent_disk(
    row: BlockDevice, guest: Guest, ports: Ports, source: str | None = None
) -> Found | None:
    """Return the row's disk in the guest's next start; raises DeviceAmbiguous."""
    found = find(guest.persistent, _sought(row, guest.persistent, ports, source))
    note(row, found, ports)
    return found


def check_place(row: BlockDevice, guest: Guest, volume: HostVolume, ports: Ports) -> None:
    """Raise DeviceAmbiguous unless either layout may be given the row's disk, or has it."""
    live_disk(row, guest, ports, volume.source.name)
    persistent_disk(row, guest, ports, volume.source.name)


def looked_up(
    row: BlockDevice, guest: Guest, ports: Ports
) -> tuple[Found | Doubt | None, Found | Doubt | None]:
    """Return what the look-up says of the row's disk, live and in the next start."""
    live = look_up_live(guest, _sought(row, guest.live, ports))
    persistent = look_up(guest.persistent, _sought(row, guest.persistent, ports))
    note(row, live, ports)
    note(row, persistent, ports)
    return (live, persistent)


def borne(found: Found) -> str:
    """Return the alias by which the running guest is asked to let go of what was found."""
    if found.device.alias is None:
        message = f"{found.device} cannot be asked for: the hypervisor gave it no alias"
        raise HypervisorRefused(message)
    return found.device.alias


def guest_of(instance: InstanceId, ports: Ports) -> Guest | None:
    """Return the guest; None where the hypervisor knows no such domain, yet or any more.

    What a rescue does to the disks of a running guest is left out, for the rows know nothing of it.
    """
    return guest_and_rescue(instance, ports)[0]


def guest_and_rescue(instance: InstanceId, ports: Ports) -> tuple[Guest | None, Rescue | None]:
    """Return the guest as ``guest_of`` does, and the rescue in which it runs now."""
    try:
        guest = ports.guests.describe(instance)
    except DomainNotFound:
        return None, None
    rescue = _rescue(instance, ports) if in_rescue(guest) else None
    return as_rows_say(guest, rescue), rescue


def make_own(row: DeviceRow, found: Found | None, ports: Ports) -> None:
    """Give what the next start has the row's alias, by which alone it is changed or forgotten."""
    if found is not None and not found.by_alias:
        former = marks_of(found.device)
        wanted = replace(former, alias=row.alias)
        change = MarkChange(device=found.device, former=former, wanted=wanted)
        ports.definitions.mark(row.instance, (change,))


def take_back(row: BlockDevice, ports: Ports) -> None:
    """Undo an attach without a look whether the disk is there: it may still be under way.

    And once more, for a guest that was started in between had it from the persistent layout.
    """
    ports.disks.unplug(row.instance, row.alias)
    ports.disks.forget(row.instance, row.alias)
    ports.disks.unplug(row.instance, row.alias)


def note(row: DeviceRow, found: Found | Doubt | None, ports: Ports) -> None:
    """Count what was found without its alias, and say so."""
    if isinstance(found, Found) and not found.by_alias:
        ports.tally.found_by_facts(_kind_of(found.device))
        LOG.warning(
            "device found without its alias: instance=%s alias=%s found=%s",
            row.instance,
            row.alias,
            found.device,
        )


def _kind_of(device: GuestDevice) -> DeviceKind:
    match device:
        case GuestDisk():
            return DeviceKind.DISK
        case GuestInterface():
            return DeviceKind.INTERFACE
        case GuestHostDevice():
            return DeviceKind.HOST_DEVICE
        case _:
            assert_never(device)


def _sought(
    row: BlockDevice, layout: Layout | None, ports: Ports, source: str | None = None
) -> Sought:
    """Ask where the content is only where that decides: it may take a while."""
    known = sought_disk(row, source)
    if disk_by_alias(layout, row.alias) is not None:
        return known
    known = replace(known, former=former_alias(row, ports))
    if source is None and may_have(layout, known):
        return replace(sought_disk(row, source_of(row, ports)), former=known.former)
    return known


def former_alias(row: BlockDevice, ports: Ports) -> str | None:
    """Return the alias that the row's disk had before it was adopted."""
    try:
        adoption = ports.instances.get(row.instance).adoption
    except InstanceNotFound:
        return None
    former = None if adoption is None else adoption.marks_of(row.uuid)
    return None if former is None else former.alias


def _rescue(instance: InstanceId, ports: Ports) -> Rescue | None:
    try:
        return ports.instances.get(instance).rescue
    except InstanceNotFound:
        return None


def source_of(row: BlockDevice, ports: Ports) -> str | None:
    """Return where the content of a row's disk is on this host, as far as that is known."""
    if row.local:
        return files_of(row.instance, (row,), ports).get(row.uuid)
    found = None if row.connection is None else ports.connector.find(row.connection)
    return None if found is None else found.source.name
