"""What a look at the worker's surroundings found, line by line."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How it stands; the later, the worse."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


_WORSE = list(Verdict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line: what was found, and what to do about it if it is not well."""

    verdict: Verdict
    said: str
    do: str | None = None


def ok(said: str) -> Finding:
    """Return the line of what is well."""
    return Finding(verdict=Verdict.OK, said=said)


def warning(said: str, do: str) -> Finding:
    """Return the line of what works, and less well than it should."""
    return Finding(verdict=Verdict.WARNING, said=said, do=do)


def failed(said: str, do: str) -> Finding:
    """Return the line of what does not work."""
    return Finding(verdict=Verdict.FAILED, said=said, do=do)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of them; all is well where there is none."""
    return max(verdicts, key=_WORSE.index, default=Verdict.OK)
