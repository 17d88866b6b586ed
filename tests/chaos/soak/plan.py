"""What is asked and what is killed, drawn from a seed: the same seed draws the same plan."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from tests.chaos.trouble import Kind
from worker.errors import DeviceSuperseded, DeviceWrongState, OperationExpired


class Act(StrEnum):
    """What is asked about one volume; the last three must fail, and touch nothing."""

    RESERVE = "reserve"
    RELEASE = "release"
    ATTACH = "attach"
    DETACH = "detach"
    EXPIRED = "expired detach"
    EARLY = "detach of a reservation"
    LATE = "detach of an older row"

    @property
    def is_call(self) -> bool:
        """Whether it is answered at once, and no operation."""
        return self in (Act.RESERVE, Act.RELEASE)

    @property
    def code(self) -> str | None:
        """The code with which it must end; None if it must succeed."""
        return CODES.get(self)


CODES = {
    Act.EXPIRED: OperationExpired.code,
    Act.EARLY: DeviceWrongState.code,
    Act.LATE: DeviceSuperseded.code,
}

WEIGHTS = {
    "free": {Act.RESERVE: 1},
    "reserved": {Act.ATTACH: 16, Act.RELEASE: 2, Act.EARLY: 2},
    "attached": {Act.DETACH: 16, Act.EXPIRED: 2, Act.LATE: 2},
}
BECOMES = {
    Act.RESERVE: "reserved",
    Act.RELEASE: "free",
    Act.ATTACH: "attached",
    Act.DETACH: "free",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One act on a volume; ``row`` counts its reservations, from 1.

    It is sent ``copies`` times more at once, and again after ``later`` other deeds, if that is
    not 0. One that is ``forged`` is followed by a message with its id and other arguments.
    """

    act: Act
    volume: int
    row: int
    copies: int = 0
    later: int = 0
    forged: bool = False


def deeds(seed: int, guest: int, operations: int, volumes: int) -> Iterator[Deed]:
    """Draw what is asked about one guest, until so many operations are in it."""
    drawn = Random(f"{seed} deeds {guest}")  # noqa: S311 - no secret
    states, rows = ["free"] * volumes, [0] * volumes
    while operations:
        volume = drawn.randrange(volumes)
        weights = WEIGHTS[states[volume]]
        (act,) = drawn.choices(list(weights), list(weights.values()))
        if act is Act.LATE and rows[volume] < 2:
            continue
        states[volume] = BECOMES.get(act, states[volume])
        rows[volume] += act is Act.RESERVE
        operations -= not act.is_call
        yield _deed(drawn, act, volume, rows[volume] - (act is Act.LATE))


def _deed(drawn: Random, act: Act, volume: int, row: int) -> Deed:
    copies = drawn.choice((0, 0, 0, 0, 1, 2))
    later = drawn.choice((0, 0, 0, 0, 0, 1, 4, 12))
    forged = drawn.random() < 0.03
    if act.is_call:
        return Deed(act=act, volume=volume, row=row)
    return Deed(act=act, volume=volume, row=row, copies=copies, later=later, forged=forged)


class Victim(StrEnum):
    """Who is killed."""

    WORKER = "worker"
    LIBVIRTD = "libvirtd"


class Moment(StrEnum):
    """When the worker is killed: at an outside call, at any moment, or while it starts."""

    CALL = "at a call"
    ANY = "at any moment"
    START = "while it starts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One kill, once ``ended`` operations have ended and ``delay`` seconds have passed.

    At a call: as ``kind`` says, at the ``number``-th call from then on.
    """

    ended: int
    victim: Victim
    moment: Moment
    number: int
    kind: Kind
    delay: float


EVERY = {Victim.WORKER: 9, Victim.LIBVIRTD: 16}
"""How many operations end between two kills, on the average."""


def kills(seed: int, operations: int, victims: tuple[Victim, ...]) -> list[Kill]:
    """Draw all kills, in their order."""
    drawn = Random(f"{seed} kills")  # noqa: S311 - no secret
    found = [kill for victim in victims for kill in _kills_of(drawn, operations, victim)]
    return sorted(found, key=lambda kill: kill.ended)


def _kills_of(drawn: Random, operations: int, victim: Victim) -> Iterator[Kill]:
    ended = drawn.randrange(EVERY[victim])
    while ended < operations:
        yield Kill(
            ended=ended,
            victim=victim,
            moment=drawn.choice((Moment.CALL, Moment.CALL, Moment.ANY, Moment.START)),
            number=drawn.randrange(8),
            kind=drawn.choice((Kind.KILL_BEFORE, Kind.KILL_AFTER, Kind.KILL_DURING)),
            delay=round(drawn.uniform(0.0, 0.8), 3),
        )
        ended += drawn.randrange(1, 2 * EVERY[victim])
