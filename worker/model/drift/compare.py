"""The comparison of all views of one instance's disks."""

from worker.model.drift.left import has_disk, of_nameless, of_removed
from worker.model.drift.rows import of_row
from worker.model.drift.sight import is_ghost, is_ghost_of, live_of, persistent_of
from worker.model.drift.words import Difference, Drift, DriftKind, Views

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
    named = {row.uuid for row in (*views.rows, *views.removed)}
    found += [of_nameless(each, views) for key, each in views.records.items() if key not in named]
    return Drift(differences=tuple(found), in_flux=views.at_work, foreign=_foreign(views))


def _is_named(difference: Difference, found: list[Difference]) -> bool:
    """One disk may be named by several removed rows, of which the first tells it."""
    about = (difference.kind, difference.alias)
    return difference.kind in OF_A_DISK and about in {(one.kind, one.alias) for one in found}


def _foreign(views: Views) -> int:
    disks = _foreign_disks(views)
    rows = (*views.rows, *views.removed)
    held = {row.attachment for row in rows}
    return len(disks) + sum(attachment not in held for attachment in views.attachments)


def _foreign_disks(views: Views) -> set[str]:
    """Return those of all layouts and of QEMU, by target or alias."""
    lives = {row.alias for row in views.rows}
    found: set[str] = set()
    for layout in (live_of(views), persistent_of(views)):
        for disk in () if layout is None else layout.disks:
            removed = [row for row in views.removed if row.alias == disk.alias]
            if disk.alias not in lives and not any(has_disk(row, layout, views) for row in removed):
                found.add(disk.target)
    known = lives | {row.alias for row in views.removed if is_ghost_of(row, views)}
    inner = {disk.alias for disk in views.inner or () if is_ghost(views, disk.alias)}
    return found | (inner - known)
