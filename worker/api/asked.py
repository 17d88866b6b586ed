"""One request and its answer, without HTTP: what the functions behind the routes see."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Json = dict[str, Any]

Owner = dict[str, str | None]
"""Whose a thing is: the target of a rule."""


class Version(NamedTuple):
    """A microversion; ``2.10`` is later than ``2.9``."""

    major: int
    minor: int

    def __str__(self) -> str:
        """Return it as it stands in a header."""
        return f"{self.major}.{self.minor}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """Who asks. ``service_roles`` are those of a service token that came along.

    ``ranked_admin`` is what the policy says of them; before it was asked, the role does.
    """

    user_id: str | None
    project_id: str | None
    roles: frozenset[str]
    service_roles: frozenset[str] = frozenset()
    ranked_admin: bool | None = None

    @property
    def is_admin(self) -> bool:
        """Whether they may see what is other projects'."""
        return "admin" in self.roles if self.ranked_admin is None else self.ranked_admin

    @property
    def owner(self) -> Owner:
        """Whose the things are that are theirs, as a rule is asked about them."""
        return {"project_id": self.project_id, "user_id": self.user_id}

    def owns(self, project_id: str | None) -> bool:
        """Tell whether a project's things are theirs; what has no project is an admin's."""
        return project_id is not None and project_id == self.project_id

    def may_see(self, project_id: str | None) -> bool:
        """Tell whether they may know of a project's things."""
        return self.is_admin or self.owns(project_id)


UNASKED = Who(user_id=None, project_id=None, roles=frozenset())
"""Whoever asks what anybody may ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that was understood: who asks for what, checked against the route's schemas.

    ``base`` is the URL below which the API is found, for links. ``version`` is the microversion of
    the route's service. ``rule`` is the policy that the request goes by; ``settled`` is the one
    that was asked already, about what is the caller's own.
    """

    who: Who
    request_id: str
    version: Version
    base: str
    rule: str | None = None
    settled: str | None = None
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def at_least(self, minor: int) -> bool:
        """Tell whether the caller speaks that microversion or a later one."""
        return self.version.minor >= minor


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is sent back: JSON, nothing, or a stream of bytes in ``content_type``."""

    status: int = 200
    body: Json | None = None
    stream: Iterator[bytes] | None = None
    content: bytes | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


OPERATION = "X-Blockworker-Operation"
"""The header that names the operation which a request has begun; several with commas between."""


def accepted(*operations: str, status: int = 202, body: Json | None = None) -> Answer:
    """Answer that these operations, if any, are in the journal."""
    headers = {OPERATION: ",".join(operations)} if operations else {}
    return Answer(status=status, body=body, headers=headers)


class Refused(Exception):
    """A request that is answered with a fault: an HTTP status and what to do about it."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        """Keep the message for the caller; it must hold nothing that they may not know."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})
