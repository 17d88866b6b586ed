"""A line of the table of requests."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from worker.api.asked import Answer, Asked, Version
from worker.api.services import Services

Schema = Mapping[str, Any]
"""A JSON schema, draft 2020-12."""


class Service(StrEnum):
    """Whose request it is: it says the form of faults and which microversions there are."""

    COMPUTE = "compute"
    VOLUME = "volume"
    IMAGE = "image"
    IDENTITY = "identity"
    OWN = "blockworker"


@dataclass(frozen=True, slots=True, kw_only=True)
class From:
    """A schema, and the minor microversion from which on it is the one that counts."""

    schema: Schema
    minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One request: where it is asked, who may, what it must look like, and what answers it.

    ``rule`` is None for what anybody may ask, unknown callers too. ``since`` and ``until`` are the
    minor microversions between which it is there. ``query`` and ``body`` are checked against the
    latest schema that is not later than the caller's microversion; a route without ``body`` takes
    none. ``answers`` says each status it has, with the schema of its body, None for an empty one;
    faults need not be named. ``unversioned`` ones are asked without any microversion.
    """

    method: str
    path: str
    act: Callable[[Asked, Services], Answer]
    does: str
    rule: str | None
    service: Service = Service.COMPUTE
    since: int = 0
    until: int | None = None
    query: Sequence[From] = ()
    body: Sequence[From] = ()
    answers: Mapping[int, Schema | None] = field(default_factory=dict)
    media: str = "application/json"

    def there(self, version: Version) -> bool:
        """Tell whether the microversion has it."""
        return self.since <= version.minor and (self.until is None or version.minor <= self.until)


def latest(schemas: Sequence[From], version: Version) -> Schema | None:
    """Return the schema that counts for a microversion, None where there is none."""
    reached = [each for each in schemas if each.minor <= version.minor]
    return max(reached, key=lambda each: each.minor).schema if reached else None
