"""What a volume may leave on its host: sessions, maps, controllers, mounts, exports.

Whatever of these is there is a ``Leftover``, in use or not, ours or not: ``drift/residue.py`` says
which of them were left behind by us.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class LeftoverKind(StrEnum):
    """What it is; the words are stable."""

    SESSION = "session"
    MAP = "map"
    CONTROLLER = "controller"
    MOUNT = "mount"
    EXPORT = "export"
    SECRET = "secret"  # noqa: S105 - a kind of thing, no password


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A device of it, by the kernel's name: a LUN of a session, a path of a map, a namespace.

    ``marks`` are what a connection may call it by. ``held`` are the names of the maps over it;
    ``used`` says who else has it open, and is None for nobody.
    """

    name: str
    marks: frozenset[str] = frozenset()
    wwid: str | None = None
    held: tuple[str, ...] = ()
    used: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """One thing on this host; ``name`` is its own there, ``about`` tells people where it leads.

    ``facts`` are for the adapter that found it, which removes no other than these agree with.
    """

    kind: LeftoverKind
    name: str
    about: str
    marks: frozenset[str] = frozenset()
    wwid: str | None = None
    parts: tuple[Part, ...] = ()
    used: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """What it is on this host, whatever is in it by now."""
        return (self.kind.value, self.name)

    def __str__(self) -> str:
        """Name it, and what is in it."""
        devices = ", ".join(part.name for part in self.parts)
        return f"{self.name} ({self.about}{': ' if devices else ''}{devices})"


def same_wwid(one: str | None, other: str | None) -> bool | None:
    """Tell whether two World Wide Identifiers are one; None where either is not known."""
    if one is None or other is None:
        return None
    return bare_wwid(one) == bare_wwid(other)


_PREFIXES = {"naa.": "3", "eui.": "2", "t10.": "1"}
"""How the kernel writes a type of identifier, and how udev and multipath do (VPD page 0x83)."""


def bare_wwid(wwid: str) -> str:
    """Return the identifier as udev writes it."""
    known = next((kind for kind in _PREFIXES if wwid.startswith(kind)), None)
    return wwid if known is None else _PREFIXES[known] + wwid.removeprefix(known)
