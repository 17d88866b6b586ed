"""Which things of this host were left behind by us: a rule, and no look.

A thing is ours if what a removed row was connected to goes by its marks, or has its WWID. It is
in use as long as a live row, a connection record or an operation at work names it. What neither
names is foreign (DESIGN section 1.13).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from worker.model.block_device import BlockDevice
from worker.model.drift.words import Difference, DriftKind, Mend
from worker.model.leftover import Leftover, LeftoverKind, Part, bare_wwid, same_wwid

Thing = Leftover | Part

LEFT = {
    LeftoverKind.SESSION: DriftKind.SESSION_LEFT,
    LeftoverKind.MAP: DriftKind.MAP_LEFT,
    LeftoverKind.CONTROLLER: DriftKind.CONTROLLER_LEFT,
    LeftoverKind.MOUNT: DriftKind.MOUNT_LEFT,
    LeftoverKind.EXPORT: DriftKind.EXPORT_LEFT,
    LeftoverKind.SECRET: DriftKind.SECRET_LEFT,
}

DOES = {
    DriftKind.DEVICE_LEFT: "remove the device from this host; others use its session",
    DriftKind.SESSION_LEFT: "remove its devices from this host and log out",
    DriftKind.MAP_LEFT: "flush the map",
    DriftKind.CONTROLLER_LEFT: "disconnect it",
    DriftKind.MOUNT_LEFT: "unmount it",
    DriftKind.EXPORT_LEFT: "withdraw it",
    DriftKind.SECRET_LEFT: "undefine it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """That something of ours names things; ``row`` is None for a live one, which keeps them."""

    row: BlockDevice | None
    marks: frozenset[str] = frozenset()
    wwid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Residue:
    """What a look for what was left found; ``foreign`` is how many things nobody here names."""

    differences: tuple[Difference, ...] = ()
    foreign: int = 0


def residue(things: Sequence[Leftover], claims: Sequence[Claim]) -> Residue:
    """Return what was left, each with the newest row that names it; ``claims`` are oldest first."""
    claimed = _Claimed(claims)
    whole = {thing.key: row for thing in things if (row := _left(thing, claimed)) is not None}
    maps = frozenset(name for kind, name in whole if kind == LeftoverKind.MAP)
    found = [
        _difference(LEFT[thing.kind], thing, whole[thing.key], maps)
        for thing in things
        if thing.key in whole
    ]
    found += [
        _difference(DriftKind.DEVICE_LEFT, part, row, maps)
        for thing in things
        if thing.kind is LeftoverKind.SESSION and thing.key not in whole
        for part, row in _left_parts(thing, claimed)
    ]
    return Residue(
        differences=tuple(found),
        foreign=sum(claimed.is_foreign(thing) for thing in things),
    )


def of_secret(row: BlockDevice) -> Difference:
    """Return the difference of a row's secrets that were not dropped once QEMU had them."""
    about = f"a secret of {row.instance}"
    thing = Leftover(kind=LeftoverKind.SECRET, name=row.uuid, about=about)
    return _difference(DriftKind.SECRET_LEFT, thing, row, frozenset())


class _Claimed:
    """Who names what."""

    def __init__(self, claims: Sequence[Claim]) -> None:
        self._live = [claim for claim in claims if claim.row is None]
        self._removed = [claim for claim in reversed(claims) if claim.row is not None]
        self._live_marks = frozenset[str]().union(*(claim.marks for claim in self._live))
        self._live_wwids = {bare_wwid(claim.wwid) for claim in self._live if claim.wwid is not None}

    def in_use(self, thing: Thing) -> bool:
        """Tell whether something live names it."""
        known = None if thing.wwid is None else bare_wwid(thing.wwid)
        return bool(thing.marks & self._live_marks) or known in self._live_wwids

    def owner(self, thing: Thing) -> BlockDevice | None:
        """Return the newest removed row that names it, None while anything live does."""
        if self.in_use(thing):
            return None
        return next((claim.row for claim in self._removed if _names(claim, thing)), None)

    def is_foreign(self, thing: Leftover) -> bool:
        """Tell whether nothing of ours names it or any of its parts."""
        pieces: tuple[Thing, ...] = (thing, *thing.parts)
        return all(not self.in_use(piece) and self.owner(piece) is None for piece in pieces)


def _names(claim: Claim, thing: Thing) -> bool:
    """A LUN's number is given again: where both WWIDs are known, they have to agree.

    The WWID alone names only what has no marks, a map say: others may have the volume elsewhere.
    """
    same = same_wwid(claim.wwid, thing.wwid)
    if thing.marks:
        return bool(claim.marks & thing.marks) and same is not False
    return same is True


def _left(thing: Leftover, claimed: _Claimed) -> BlockDevice | None:
    """Return whose it was, if the whole of it was left: nobody else has a part of it."""
    owners = [claimed.owner(part) for part in thing.parts]
    if claimed.in_use(thing) or None in owners:
        return None
    return next(iter(owners), None) or claimed.owner(thing)


def _left_parts(thing: Leftover, claimed: _Claimed) -> Iterator[tuple[Leftover, BlockDevice]]:
    """A device may go while its session stays for others."""
    for part in thing.parts:
        row = claimed.owner(part)
        if row is not None:
            yield replace(thing, parts=(part,)), row


def _difference(
    kind: DriftKind, thing: Leftover, row: BlockDevice, maps: frozenset[str]
) -> Difference:
    return Difference(
        kind=kind,
        instance=row.instance,
        device=row,
        alias=row.alias,
        thing=thing,
        views={"row": "removed" if row.deleted else row.status.value, "host": str(thing)},
        mend=_mend(kind, thing, maps),
    )


def _mend(kind: DriftKind, thing: Leftover, maps: frozenset[str]) -> Mend:
    """Nothing is taken from under who uses it; a map that was left goes before its paths."""
    pieces: tuple[Thing, ...] = (thing, *thing.parts)
    used = [piece.used for piece in pieces if piece.used is not None]
    held = [name for part in thing.parts for name in part.held]
    used += [f"{name} is over it" for name in held if name not in maps]
    if used:
        return Mend(why_not=f"it is in use: {'; '.join(dict.fromkeys(used))}")
    return Mend(does=DOES[kind], waits=bool(held))
