"""What the fleet's rows say, as values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from worker.model.ids import InstanceId, OperationId
from worker.model.instance import Instance
from worker.model.operation import Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """A state, with one of ``tasks``, none for any, and none of ``other_tasks``."""

    state: str
    tasks: Sequence[str] = ()
    other_tasks: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which live instances, newest first: of one project or, without one, of all.

    ``after`` is the last of the page before; an unknown one gives the first page. ``name`` is a
    part of their names, its beginning where ``begins``, its end where ``ends``; ``states`` are
    words of ``VmState``, none for any; ``doing`` are what they may be at, none for anything.
    """

    project: str | None
    limit: int
    after: InstanceId | None = None
    host: str | None = None
    states: Sequence[str] = ()
    name: str | None = None
    begins: bool = False
    ends: bool = False
    doing: Sequence[Doing] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """An instance, with the times of its row; ``deleted_at`` is of one that is gone."""

    instance: Instance
    created_at: datetime | None
    updated_at: datetime | None
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An operation, and the host whose worker has it."""

    host: str
    operation: Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A worker that holds its host's lease until ``until``; ``instances`` are in its care."""

    name: str
    until: datetime
    instances: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedOperations:
    """Which operations, newest first: on instances of one project or, without one, all.

    ``after`` is the last of the page before; with an unknown one there are none.
    """

    project: str | None
    limit: int
    instance: InstanceId | None = None
    state: str | None = None
    after: OperationId | None = None


class Key(NamedTuple):
    """Whose numbers those of an update are; ``instance`` is empty where there is none."""

    host: str
    instance: str


class Mark(NamedTuple):
    """A place in the table of updates: an id and its time; no time when nothing was there."""

    id: int
    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetUpdate:
    """An update as it is told; one that was heard on the bus has no ``mark``."""

    key: Key
    sequence: int
    event: str
    payload: Mapping[str, Any]
    mark: Mark | None = None
