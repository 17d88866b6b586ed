"""What only a removed row, or a record without a live row, still names: it was left behind.

A disk is a removed row's when all facts about it agree (``sight.is_of``), and no live row has the
alias.
"""

from collections.abc import Iterator

from worker.model.block_device import BlockDevice
from worker.model.connection import ConnectionRecord
from worker.model.drift.sight import (
    is_ghost_of,
    is_of,
    live_of,
    persistent_of,
    said_of,
)
from worker.model.drift.words import Difference, DriftKind, Mend, Views
from worker.model.guest import GuestDisk, InnerDisk, Layout
from worker.model.identity.lookup import disk_by_alias

NOT_ASKED = "the guest runs, and QEMU was not asked whether it still has the disk; look with --qemu"


def of_removed(row: BlockDevice, views: Views) -> tuple[Difference, ...]:
    """Return what a removed row left behind."""
    in_guest = () if _alias_lives(row, views) else tuple(_disks(row, views))
    return in_guest + tuple(_outside(row, views, in_guest))


def of_nameless(record: ConnectionRecord, views: Views) -> Difference:
    """Return the difference of a record whose row there never was, or is no more."""
    return Difference(
        kind=DriftKind.CONNECTION_LEFT,
        instance=views.instance,
        record=record,
        views={"row": "none", "connection": "recorded"},
        mend=Mend(why_not="no row tells which disk of the guest it is for; an operator looks"),
    )


def has_disk(row: BlockDevice, layout: Layout | None, views: Views) -> bool:
    """Tell whether the layout has the disk of the row."""
    disk = disk_by_alias(layout, row.alias)
    return disk is not None and is_of(disk, row, views)


def _alias_lives(row: BlockDevice, views: Views) -> bool:
    return any(live.alias == row.alias for live in views.rows)


def _volume_lives(row: BlockDevice, views: Views) -> bool:
    return not row.local and any(live.volume == row.volume for live in views.rows)


def _disks(row: BlockDevice, views: Views) -> Iterator[Difference]:
    if has_disk(row, live_of(views), views):
        mend = _allowed(row, views, "unplug it from the running guest")
        yield _difference(DriftKind.LIVE_LEFT, row, views, mend)
    if is_ghost_of(row, views):
        mend = _allowed(row, views, "take it out of QEMU")
        yield _difference(DriftKind.GHOST, row, views, mend)
    if has_disk(row, persistent_of(views), views):
        mend = _allowed(row, views, "take it out of the persistent layout")
        yield _difference(DriftKind.PERSISTENT_LEFT, row, views, mend)


def _outside(
    row: BlockDevice, views: Views, in_guest: tuple[Difference, ...]
) -> Iterator[Difference]:
    recorded = row.uuid in views.records
    if recorded:
        yield _difference(DriftKind.CONNECTION_LEFT, row, views, _disconnect(row, views, in_guest))
    if _holds_attachment(row, views):
        mend = _let_go(row, views, in_guest, f"delete attachment {row.attachment}")
        if recorded and mend.does is not None:
            mend = Mend(does=mend.does, waits=True)
        if _volume_lives(row, views):
            mend = Mend(why_not="a live row of the instance has the volume, and may come to use it")
        yield _difference(DriftKind.ATTACHMENT_LEFT, row, views, mend)


def _holds_attachment(row: BlockDevice, views: Views) -> bool:
    held = None if row.attachment is None else views.attachments.get(row.attachment)
    if held is None or any(live.attachment == held.id for live in views.rows):
        return False
    return (held.volume, held.instance) == (row.volume, row.instance)


def _disconnect(row: BlockDevice, views: Views, in_guest: tuple[Difference, ...]) -> Mend:
    shared = row.uuid in views.shared
    if shared:
        does = "forget the record; another of this host's keeps the volume connected"
        return Mend(does=does, waits=bool(in_guest))
    if _volume_lives(row, views):
        return Mend(why_not="a live row of the instance has the volume, and may come to use it")
    return _let_go(
        row, views, in_guest, "disconnect the volume from this host and forget the record"
    )


def _let_go(row: BlockDevice, views: Views, in_guest: tuple[Difference, ...], does: str) -> Mend:
    """Nothing is taken from under a guest, or under a QEMU, that has the disk."""
    hopeless = next((other for other in in_guest if not other.safe), None)
    if hopeless is not None:
        return Mend(why_not=f"{hopeless.kind} goes first: {hopeless.mend.why_not}")
    if _alias_lives(row, views) or _elsewhere(row, views):
        return Mend(why_not="the guest has a disk that is not the row's, with its alias or source")
    if live_of(views) is not None and views.inner is None:
        return Mend(why_not=NOT_ASKED)
    return _allowed(row, views, does, waits=bool(in_guest))


def _elsewhere(row: BlockDevice, views: Views) -> bool:
    """Tell whether a disk that is not the row's bears its alias, or is of its volume."""
    source = views.sources.get(row.uuid)
    layouts = (live_of(views), persistent_of(views))
    shown = [disk for layout in layouts if layout is not None for disk in layout.disks]
    others: list[GuestDisk | InnerDisk] = [disk for disk in shown if not is_of(disk, row, views)]
    own = is_ghost_of(row, views) or has_disk(row, live_of(views), views)
    others += [disk for disk in views.inner or () if not (own and disk.alias == row.alias)]
    return any(disk.alias == row.alias or disk.source == source is not None for disk in others)


def _allowed(row: BlockDevice, views: Views, does: str, *, waits: bool = False) -> Mend:
    stuck = views.stuck.get(row.uuid)
    if stuck is not None:
        return Mend(why_not=f"operation {stuck} is stuck: retry or abandon it")
    return Mend(does=does, waits=waits)


def _difference(kind: DriftKind, row: BlockDevice, views: Views, mend: Mend) -> Difference:
    return Difference(
        kind=kind,
        instance=views.instance,
        device=row,
        alias=row.alias,
        record=views.records.get(row.uuid) if kind is DriftKind.CONNECTION_LEFT else None,
        views=said_of(row, views),
        mend=mend,
    )
