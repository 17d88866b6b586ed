"""The comparison of all views of one instance's disks."""

from collections.abc import Iterator

from worker.model.block_device import BlockDevice
from worker.model.drift.left import has_disk, of_nameless, of_removed
from worker.model.drift.rows import of_row
from worker.model.drift.sight import (
    in_live,
    in_persistent,
    is_ghost,
    is_ghost_of,
    live_of,
    persistent_of,
    shown_as,
)
from worker.model.drift.words import Difference, Drift, DriftKind, Views
from worker.model.identity.lookup import Found

OF_A_DISK = (DriftKind.LIVE_LEFT, DriftKind.PERSISTENT_LEFT, DriftKind.GHOST)


def compare(views: Views) -> Drift:
    """Return every difference, what goes first before what waits for it.

    What no row, live or removed, and no record names is counted and no more.
    """
    found: list[Difference] = []
    for row in views.rows:
        if row.uuid not in views.at_work:
            found += of_row(row, views)
    for row in views.removed:
        if row.uuid not in views.at_work:
            found += [each for each in of_removed(row, views) if not _is_named(each, found)]
    rows = (*views.rows, *views.removed)
    named = {row.uuid for row in rows} | {row.swap.uuid for row in rows if row.swap is not None}
    found += [of_nameless(each, views) for key, each in views.records.items() if key not in named]
    return Drift(
        differences=tuple(found),
        in_flux=views.at_work,
        by_facts=tuple(_by_facts(views)),
        foreign=_foreign(views),
    )


def _by_facts(views: Views) -> Iterator[tuple[BlockDevice, Found]]:
    for row in views.rows:
        for found in (in_live(row, views), in_persistent(row, views)):
            if isinstance(found, Found) and not found.by_alias:
                yield row, found


def _is_named(difference: Difference, found: list[Difference]) -> bool:
    """One disk may be named by several removed rows, of which the first tells it."""
    about = (difference.kind, difference.alias)
    return difference.kind in OF_A_DISK and about in {(one.kind, one.alias) for one in found}


def _foreign(views: Views) -> int:
    disks = _foreign_disks(views)
    rows = (*views.rows, *views.removed)
    held = {row.attachment for row in rows}
    held |= {row.swap.attachment for row in rows if row.swap is not None}
    return len(disks) + sum(attachment not in held for attachment in views.attachments)


def _foreign_disks(views: Views) -> set[str]:
    """Return those of all layouts and of QEMU, by target or alias."""
    lives = {row.alias for row in views.rows}
    shown = {device for row in views.rows for device in shown_as(row, views)}
    found: set[str] = set()
    for layout in (live_of(views), persistent_of(views)):
        for disk in () if layout is None else layout.disks:
            removed = [row for row in views.removed if row.alias == disk.alias]
            ours = disk.alias in lives | views.rowless or disk in shown
            if not ours and not any(has_disk(row, layout, views) for row in removed):
                found.add(disk.target)
    known = lives | views.rowless | {row.alias for row in views.removed if is_ghost_of(row, views)}
    inner = {disk.alias for disk in views.inner or () if is_ghost(views, disk.alias)}
    return found | (inner - known)
