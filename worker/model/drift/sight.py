"""What each view says of one device."""

from collections.abc import Mapping
from dataclasses import replace

from worker.model.block_device import BlockDevice
from worker.model.drift.words import Views
from worker.model.guest import GuestDevice, GuestDisk, Layout
from worker.model.identity.lookup import (
    Doubt,
    Found,
    Sought,
    Why,
    disk_by_alias,
    look_up,
    look_up_live,
)
from worker.model.identity.serials import given_serial
from worker.model.identity.sought import sought_disk
from worker.model.rescue.meanwhile import keeps

ABSENT = "absent"


def live_of(views: Views) -> Layout | None:
    """Return the layout of the running guest."""
    return None if views.guest is None else views.guest.live


def persistent_of(views: Views) -> Layout | None:
    """Return the layout of the guest's next start."""
    return None if views.guest is None else views.guest.persistent


def in_live(row: BlockDevice, views: Views) -> Found | Doubt | None:
    """Return what the look-up says of the row's disk in the running guest."""
    return None if views.guest is None else look_up_live(views.guest, _sought(row, views))


def in_persistent(row: BlockDevice, views: Views) -> Found | Doubt | None:
    """Return what the look-up says of the row's disk in the guest's next start."""
    return look_up(persistent_of(views), _sought(row, views))


def is_left_out(row: BlockDevice, views: Views) -> bool:
    """Tell whether the guest in rescue is without the row's disk, as it is meant to be."""
    return not keeps(views.rescue, row.target) and in_live(row, views) is None


def shown_as(row: BlockDevice, views: Views) -> tuple[GuestDevice, ...]:
    """Return what the layouts have as the row's disk; what is in its place may well be it."""
    found: list[GuestDevice] = []
    for one in (in_live(row, views), in_persistent(row, views)):
        if isinstance(one, Found):
            found.append(one.device)
        elif isinstance(one, Doubt) and one.why is Why.FEW:
            found += one.devices
    return tuple(found)


def _sought(row: BlockDevice, views: Views) -> Sought:
    sought = sought_disk(row, views.sources.get(row.uuid))
    return replace(sought, former=views.formers.get(row.uuid))


def qemu_has(views: Views, alias: str) -> bool:
    """Tell whether QEMU was asked and has a disk of that alias."""
    return any(disk.alias == alias for disk in views.inner or ())


def is_ghost(views: Views, alias: str) -> bool:
    """Tell whether QEMU has a disk of that alias and its hypervisor denies it."""
    return qemu_has(views, alias) and disk_by_alias(live_of(views), alias) is None


def unlike(disk: GuestDisk, row: BlockDevice) -> str:
    """Say in what the disk is not as the row has it; empty when in nothing."""
    pairs = [
        ("target", disk.target, row.target),
        ("bus", disk.bus, row.bus.value),
        ("serial", disk.serial, given_serial(row.serial, row.device_type)),
    ]
    if row.address is not None:
        pairs.append(("address", str(disk.address), str(row.address)))
    return "; ".join(f"{name} {has}, not {wanted}" for name, has, wanted in pairs if has != wanted)


def is_of(disk: GuestDisk, row: BlockDevice, views: Views) -> bool:
    """Tell whether a disk is the one that the row stood for.

    The alias alone is no proof. It must be in the row's place and look like the row's in all else;
    and a row that was never connected, a reservation that was given back, never had a disk.
    """
    if disk.alias != row.alias or row.connection is None or unlike(disk, row):
        return False
    return _may_be_of_its_volume(disk.source, row, views)


def is_ghost_of(row: BlockDevice, views: Views) -> bool:
    """Tell whether the disk that QEMU has and its hypervisor denies is the row's."""
    inner = next((disk for disk in views.inner or () if disk.alias == row.alias), None)
    if inner is None or not is_ghost(views, row.alias) or row.connection is None:
        return False
    return inner.source is None or _may_be_of_its_volume(inner.source, row, views)


def _may_be_of_its_volume(source: str | None, row: BlockDevice, views: Views) -> bool:
    return views.sources.get(row.uuid, source) == source


def in_its_place(
    layout: Layout, row: BlockDevice, own: tuple[GuestDevice, ...] = ()
) -> GuestDisk | None:
    """Return another disk that has the row's name or address; ``own`` may be the row's."""
    for disk in layout.disks:
        same_place = row.address is not None and disk.address == row.address
        others = disk.alias != row.alias and disk not in own
        if others and (disk.target == row.target or same_place):
            return disk
    return None


def in_another_file(row: BlockDevice, views: Views) -> str | None:
    """What is plugged in must be what the guest wrote to last: an overlay may lie over the file."""
    file = views.sources.get(row.uuid)
    if not row.local:
        return None
    if file is None:
        return "the disk was adopted, so nobody here knows its file; plug it in by hand"
    sources = [device.facts.get("source") for device in shown_as(row, views)]
    other = next((source for source in sources if source != file), None)
    return None if other is None else f"the guest has the disk in {other}, not in {file}"


def said_of(row: BlockDevice, views: Views) -> Mapping[str, str]:
    """Return what each view says of the row's device, for people."""
    seen = {
        "row": "removed" if row.deleted else row.status.value,
        "live": _layout(views, live_of(views), "not running", in_live(row, views)),
        "persistent": _layout(views, persistent_of(views), "transient", in_persistent(row, views)),
        "qemu": _qemu(views, row.alias),
    }
    return seen | ({"file": _file(row, views)} if row.local else _said_of_volume(row, views))


def _said_of_volume(row: BlockDevice, views: Views) -> dict[str, str]:
    held = None if row.attachment is None else views.attachments.get(row.attachment)
    volume = views.volumes.get(row.its_volume)
    return {
        "attachment": ABSENT if held is None else held.status.value,
        "volume": ABSENT if volume is None else volume.status.value,
        "connection": _connection(row, views),
    }


def _layout(views: Views, layout: Layout | None, without: str, found: Found | Doubt | None) -> str:
    if views.guest is None:
        return "no domain"
    if layout is None:
        return without
    match found:
        case Found(device=GuestDisk() as disk, by_alias=by_alias):
            return f"{disk.target} at {disk.address}" + ("" if by_alias else f" ({disk.alias})")
        case Doubt(devices=devices):
            return f"perhaps {' or '.join(map(str, devices))}"
        case _:
            return ABSENT


def _qemu(views: Views, alias: str) -> str:
    if views.inner is None:
        return "not asked"
    return "has it" if qemu_has(views, alias) else ABSENT


def _file(row: BlockDevice, views: Views) -> str:
    if row.uuid in views.absent:
        return ABSENT
    return views.sources.get(row.uuid, "unknown")


def _connection(row: BlockDevice, views: Views) -> str:
    if row.uuid not in views.records:
        return ABSENT
    return "recorded, and not on this host" if row.uuid in views.absent else "recorded"
