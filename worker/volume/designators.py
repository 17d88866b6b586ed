"""What a SCSI device's page 0x83 calls it: designators, and the one to know it by.

The page is that of SPC-4, 7.8.6. Of its designators only those that name the logical unit count:
others name the port that was asked, and are another on each path.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

_LOGICAL_UNIT = 0
_HEADER = 4
_HEX_LINE = re.compile(r"(?:[\da-f]{2}\s*)+", re.ASCII)
_NO_COMPANY = "000000"
_COUNTED_BY_TGT = re.compile(rb"IET\s+[\da-f]{8}\0*")


class Kind(IntEnum):
    """What a designator is, as the page counts; the names of the kernel are in ``name``."""

    T10 = 1
    EUI = 2
    NAA = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Designator:
    """One name that a logical unit has."""

    kind: int
    value: bytes

    @property
    def is_its_own(self) -> bool:
        """Whether no other device can have it.

        A company id of nought is nobody's, and one that is given locally is anybody's. What tgt
        says of itself counts its targets, and every tgtd begins at 1.
        """
        match self.kind:
            case Kind.NAA:
                digits = self.value.hex()
                return digits[:1] in ("2", "5", "6") and not digits[1:].startswith(_NO_COMPANY)
            case Kind.EUI:
                return any(self.value)
            case Kind.T10:
                return bool(self.value) and not _COUNTED_BY_TGT.fullmatch(self.value)
            case _:
                return False

    @property
    def text(self) -> str:
        """The name as the kernel writes it in ``wwid``."""
        match self.kind:
            case Kind.NAA:
                return f"naa.{self.value.hex()}"
            case Kind.EUI:
                return f"eui.{self.value.hex()}"
            case _:
                said = self.value.rstrip(b"\0 ")
                return f"t10.{said.decode('ascii', 'backslashreplace')}"

    @property
    def map_name(self) -> str | None:
        """The name that udev gives it, and multipath a map; None for one that is not binary."""
        if self.kind not in (Kind.NAA, Kind.EUI):
            return None
        return f"{int(self.kind)}{self.value.hex()}"


def page_in(told: str) -> bytes:
    """Return the page that a tool of sg3-utils has written in hex digits."""
    lines = (line.strip() for line in told.splitlines())
    return bytes.fromhex(" ".join(line for line in lines if _HEX_LINE.fullmatch(line)))


def designators(page: bytes) -> tuple[Designator, ...]:
    """Return the names of the logical unit, as the page has them; a page cut off has fewer."""
    return tuple(_each(page[_HEADER:]))


def _each(rest: bytes) -> Iterator[Designator]:
    while len(rest) >= _HEADER:
        about, length = rest[1], rest[3]
        if about >> 4 & 3 == _LOGICAL_UNIT and len(rest) >= _HEADER + length:
            yield Designator(kind=about & 15, value=rest[_HEADER : _HEADER + length])
        rest = rest[_HEADER + length :]


def wwid_of(names: tuple[Designator, ...]) -> str | None:
    """Return the name to know the device by, the most binding first; None if none is its own."""
    own = sorted((name for name in names if name.is_its_own), key=_rank)
    return own[0].text if own else None


def _rank(name: Designator) -> tuple[int, int, bytes]:
    # As the kernel does: the longest of the highest kind.
    return (-name.kind, -len(name.value), name.value)
