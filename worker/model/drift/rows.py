"""What a live row expects of the other views."""

from collections.abc import Iterator

from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.drift.sight import (
    in_another_file,
    in_its_place,
    in_live,
    in_persistent,
    is_ghost,
    is_left_out,
    live_of,
    persistent_of,
    qemu_has,
    said_of,
    unlike,
)
from worker.model.drift.words import Difference, DriftKind, Mend, Views
from worker.model.guest import GuestDevice, Layout
from worker.model.identity.lookup import Doubt, Found, Why, disk_by_alias
from worker.model.places.placement import HOT_PLUGGED
from worker.model.rescue.meanwhile import leaves_alone
from worker.model.volume import AttachmentStatus, VolumeStatus

AWAY = "the volume could not be reached when the guest started; it is tried again by itself"
UNDECIDED = "no operation is at work on it, so nobody can tell what was meant; "


def of_row(row: BlockDevice, views: Views) -> tuple[Difference, ...]:
    """Return where the other views are not as the live row expects."""
    stuck = views.stuck.get(row.uuid)
    if stuck is not None:
        why_not = f"operation {stuck} is stuck: retry or abandon it"
        return (_difference(DriftKind.STUCK, row, views, Mend(why_not=why_not)),)
    match row.status:
        case DeviceStatus.ATTACHED:
            return _of_attached(row, views)
        case DeviceStatus.RESERVED:
            return _of_reserved(row, views)
        case DeviceStatus.MISSING:
            return (_difference(DriftKind.MISSING, row, views, Mend(why_not=AWAY)),)
        case _:
            way_out = "destroy the instance" if row.local else "detach the volume"
            mend = Mend(why_not=UNDECIDED + way_out)
            return (_difference(DriftKind.UNSETTLED, row, views, mend),)


def _of_reserved(row: BlockDevice, views: Views) -> tuple[Difference, ...]:
    """A reservation is in our row alone."""
    layouts = (live_of(views), persistent_of(views))
    seen = any(disk_by_alias(layout, row.alias) for layout in layouts)
    if not seen and not qemu_has(views, row.alias):
        return ()
    why_not = "the row is only reserved, and the guest has a disk of its alias; an operator looks"
    return (_difference(DriftKind.UNSETTLED, row, views, Mend(why_not=why_not)),)


def _of_attached(row: BlockDevice, views: Views) -> tuple[Difference, ...]:
    outside = tuple(_file(row, views)) if row.local else _outside(row, views)
    return outside + tuple(_guest(row, views, outside))


def _file(row: BlockDevice, views: Views) -> Iterator[Difference]:
    if row.uuid in views.absent:
        why_not = "its file is not on this host; put it back while the guest is off, or destroy it"
        if in_live(row, views) is not None:
            why_not = "the running guest has it open, and loses it when it ends; copy it out first"
        yield _difference(DriftKind.FILE_MISSING, row, views, Mend(why_not=why_not))


def _outside(row: BlockDevice, views: Views) -> tuple[Difference, ...]:
    return (*_attachment(row, views), *_volume(row, views), *_connection(row, views))


def _attachment(row: BlockDevice, views: Views) -> Iterator[Difference]:
    held = None if row.attachment is None else views.attachments.get(row.attachment)
    if held is None:
        yield _difference(DriftKind.ATTACHMENT_MISSING, row, views, _make_attachment(row, views))
    elif (held.volume, held.instance) != (row.volume, row.instance):
        why_not = f"attachment {held.id} is for volume {held.volume} on instance {held.instance}"
        yield _difference(DriftKind.ATTACHMENT_DIFFERS, row, views, Mend(why_not=why_not))
    elif held.status is not AttachmentStatus.ATTACHED:
        mend = Mend(does=f"complete attachment {held.id}")
        if row.volume not in views.volumes:
            mend = Mend(why_not=f"the volume service knows no volume {row.volume}")
        yield _difference(DriftKind.ATTACHMENT_INCOMPLETE, row, views, mend)


def _make_attachment(row: BlockDevice, views: Views) -> Mend:
    volume = views.volumes.get(row.its_volume)
    if volume is None:
        return Mend(why_not=f"the volume service knows no volume {row.volume}")
    pair = (row.volume, row.instance)
    there = any((held.volume, held.instance) == pair for held in views.attachments.values())
    if there or volume.multiattach or volume.status is VolumeStatus.AVAILABLE:
        return Mend(does="attach the volume to the instance at the volume service anew")
    return Mend(why_not=f"the volume is {volume.status}, for somebody else perhaps")


def _volume(row: BlockDevice, views: Views) -> Iterator[Difference]:
    volume = views.volumes.get(row.its_volume)
    held = None if row.attachment is None else views.attachments.get(row.attachment)
    if volume is None:
        why_not = f"the volume service knows no volume {row.volume}; detach it"
        yield _difference(DriftKind.VOLUME_MISSING, row, views, Mend(why_not=why_not))
        return
    if held is None or held.status is not AttachmentStatus.ATTACHED:
        return
    if volume.status is VolumeStatus.DETACHING:
        mend = Mend(does="mark the volume as in use again")
        yield _difference(DriftKind.VOLUME_DETACHING, row, views, mend)
    elif volume.status is not VolumeStatus.IN_USE:
        why_not = f"the volume service says {volume.status}; set it to in-use there"
        yield _difference(DriftKind.VOLUME_STATUS, row, views, Mend(why_not=why_not))


def _connection(row: BlockDevice, views: Views) -> Iterator[Difference]:
    if row.uuid not in views.records:
        mend = Mend(does="write down how this host is connected, as the row has it")
        if row.connection is None:
            mend = Mend(why_not="the row does not have it either; detach the volume")
        yield _difference(DriftKind.CONNECTION_MISSING, row, views, mend)
    if row.uuid in views.absent:
        mend = Mend(does="connect the volume to this host again")
        if in_live(row, views) is not None:
            mend = Mend(why_not="the running guest has it open; stop the guest, or detach it")
        yield _difference(DriftKind.DEVICE_MISSING, row, views, mend)


def _guest(row: BlockDevice, views: Views, outside: tuple[Difference, ...]) -> Iterator[Difference]:
    if views.guest is None:
        way_out = "destroy the instance" if row.local else "detach the volume"
        why_not = f"the hypervisor knows no such domain; define it again, or {way_out}"
        yield _difference(DriftKind.DOMAIN_GONE, row, views, Mend(why_not=why_not))
        return
    ghost = is_ghost(views, row.alias)
    if ghost:
        why_not = (
            "the guest may be using it, and keeps it; a detach takes it out, and a stop and start"
            " let the hypervisor see it"
        )
        yield _difference(DriftKind.GHOST, row, views, Mend(why_not=why_not))
    mend, live = _plug(row, views, outside), views.guest.live
    if not ghost and not is_left_out(row, views):
        yield from _layout(row, views, DriftKind.LIVE_MISSING, mend)
    yield from _layout(row, views, DriftKind.PERSISTENT_MISSING, mend)
    shown = disk_by_alias(live, row.alias) is not None
    if views.inner is not None and shown and not qemu_has(views, row.alias):
        why_not = "the hypervisor shows a disk that QEMU has not; stop and start the guest"
        yield _difference(DriftKind.QEMU_MISSING, row, views, Mend(why_not=why_not))


DIFFERS = {
    DriftKind.LIVE_MISSING: DriftKind.LIVE_DIFFERS,
    DriftKind.PERSISTENT_MISSING: DriftKind.PERSISTENT_DIFFERS,
}
"""What a disk is that is there, and is another than the row's."""


def _layout(row: BlockDevice, views: Views, missing: DriftKind, mend: Mend) -> Iterator[Difference]:
    """Compare one layout, if there is one, with the row."""
    layout, found = _seen(row, views, missing)
    wrong = None if layout is None else _wrong(row, layout, found)
    if wrong is not None:
        yield _difference(DIFFERS[missing], row, views, Mend(why_not=wrong))
    elif layout is not None and found is None:
        yield _difference(missing, row, views, mend)


def _seen(
    row: BlockDevice, views: Views, missing: DriftKind
) -> tuple[Layout | None, Found | Doubt | None]:
    if missing is DriftKind.LIVE_MISSING:
        return live_of(views), in_live(row, views)
    return persistent_of(views), in_persistent(row, views)


def _wrong(row: BlockDevice, layout: Layout, found: Found | Doubt | None) -> str | None:
    """Say what another disk of the layout has that is the row's.

    What was adopted bears its marks from the next cold start on, and is no other until then.
    """
    own: tuple[GuestDevice, ...] = ()
    match found:
        case Doubt(why=Why.FACTS, said=said):
            return said
        case Doubt(devices=devices):
            own = devices
        case Found(device=device):
            own = (device,)
    borne = disk_by_alias(layout, row.alias)
    if borne is not None and (different := unlike(borne, row)):
        return f"the disk of its alias has {different}; it may be another's"
    other = in_its_place(layout, row, own)
    if other is not None:
        where = f"{other.target} at {other.address}"
        return f"another disk has its place: {other.alias or other.source}, {where}"
    return None


def _plug(row: BlockDevice, views: Views, outside: tuple[Difference, ...]) -> Mend:
    """Say whether the disk can be plugged into the layouts that lack it."""
    why_not = _why_not_plugged(row, views, outside)
    if why_not is not None:
        return Mend(why_not=why_not)
    where = f"{row.target} at {row.address}"
    return Mend(does=f"plug the disk in again as {where}", waits=bool(outside))


def _why_not_plugged(row: BlockDevice, views: Views, outside: tuple[Difference, ...]) -> str | None:
    hopeless = next((other for other in outside if not other.safe), None)
    if hopeless is not None:
        return f"{hopeless.kind} goes first: {hopeless.mend.why_not}"
    if is_ghost(views, row.alias):
        return "QEMU has the disk, which its hypervisor denies"
    if not leaves_alone(views.rescue, row.target):
        return "the rescue has the disk elsewhere, or not at all; unrescue the instance first"
    seen = [_seen(row, views, missing) for missing in DIFFERS]
    said = (_wrong(row, layout, found) for layout, found in seen if layout is not None)
    wrong = next(filter(None, said), None) or in_another_file(row, views)
    if wrong is not None:
        return wrong
    return _why_not_now(row, views)


def _why_not_now(row: BlockDevice, views: Views) -> str | None:
    if row.uuid in views.refused:
        return "the guest gave it up after a detach that had failed; ask for the detach again"
    lacks_live = live_of(views) is not None and in_live(row, views) is None
    if lacks_live and row.bus not in HOT_PLUGGED:
        return f"bus {row.bus} takes no disk while the instance runs; stop it first"
    return None


def _difference(kind: DriftKind, row: BlockDevice, views: Views, mend: Mend) -> Difference:
    return Difference(
        kind=kind,
        instance=views.instance,
        device=row,
        alias=row.alias,
        views=said_of(row, views),
        mend=mend,
    )
