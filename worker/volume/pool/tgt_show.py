"""What tgtd shows of itself, read: lines for people, which are all that it has."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_PORTAL = re.compile(r"^Portal: (\S+?),\d+$", re.MULTILINE)
_TARGET = re.compile(r"^Target (\d+): (.*)$", re.MULTILINE)
_SECTION = re.compile(r"^ {4}(\S.*) information:\s*$", re.MULTILINE)
_SESSION = re.compile(r"^ {8}I_T nexus: (\d+)$", re.MULTILINE)
_INITIATOR = re.compile(r"^ {12}Initiator: (\S+)", re.MULTILINE)
_CONNECTION = re.compile(r"^ {12}Connection: (\d+)$", re.MULTILINE)
_LUN = re.compile(r"^ {8}LUN: (\d+)$", re.MULTILINE)
_FACT = re.compile(r"^ {12}(SCSI SN|Backing store path): (.*)$", re.MULTILINE)
_ENTRY = re.compile(r"^ {8}(\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Somebody who is logged in."""

    number: int
    initiator: str
    connections: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lun:
    """A LUN, and what it says of itself."""

    number: int
    serial: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A target; ``initiators`` may log in as one of ``users``, which are in tgtd's own order."""

    number: int
    iqn: str
    luns: tuple[Lun, ...] = ()
    sessions: tuple[Session, ...] = ()
    users: tuple[str, ...] = ()
    initiators: frozenset[str] = frozenset()


def portals_in(text: str) -> tuple[str, ...]:
    """Return the portals that are shown."""
    return tuple(_PORTAL.findall(text))


def targets_in(text: str) -> tuple[Target, ...]:
    """Return the targets that are shown."""
    return tuple(_target(*parts) for parts in _split(_TARGET, text))


def names_in(text: str) -> dict[str, int]:
    """Return the names of the targets that are shown, and their numbers."""
    return {iqn: int(number) for number, iqn in _TARGET.findall(text)}


def target_in(text: str, iqn: str) -> Target | None:
    """Return one target, if it is shown; what is said of the others is not read."""
    at = text.find(f": {iqn}\n")
    if at < 0:
        return None
    end = text.find("\nTarget ", at)
    (found,) = targets_in(text[text.rfind("\n", 0, at) + 1 : end if end >= 0 else len(text)])
    return found


def _target(number: str, iqn: str, text: str) -> Target:
    said: Mapping[str, str] = {one[0]: one[1] for one in _split(_SECTION, text)}
    return Target(
        number=int(number),
        iqn=iqn,
        luns=tuple(_lun(*parts) for parts in _split(_LUN, said.get("LUN", ""))),
        sessions=tuple(_session(*parts) for parts in _split(_SESSION, said.get("I_T nexus", ""))),
        users=tuple(_ENTRY.findall(said.get("Account", ""))),
        initiators=frozenset(_ENTRY.findall(said.get("ACL", ""))),
    )


def _lun(number: str, text: str) -> Lun:
    facts = dict(_FACT.findall(text))
    path = facts.get("Backing store path", "")
    return Lun(number=int(number), serial=facts.get("SCSI SN", ""), path=path)


def _session(number: str, text: str) -> Session:
    who = _INITIATOR.search(text)
    connections = tuple(int(each) for each in _CONNECTION.findall(text))
    return Session(number=int(number), initiator=who[1] if who else "", connections=connections)


def _split(head: re.Pattern[str], text: str) -> Iterator[tuple[str, ...]]:
    """Yield the groups of each head, and the text up to the next one."""
    found = list(head.finditer(text))
    ends = [match.start() for match in found] + [len(text)]
    for match, end in zip(found, ends[1:], strict=True):
        yield (*match.groups(), text[match.end() : end])
