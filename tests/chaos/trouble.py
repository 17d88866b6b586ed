"""Trouble at one outside call of an operation, as orders in the worker's state folder say.

The orders come by a file, so that one worker serves many points: it sets the scene without
trouble, then finds the orders, and counts calls from there. A call is named by what is called and
by how often the operation has called it before, not by how many calls of any kind came before: a
guest in doubt, a look at another guest or a second try add calls, and the trouble still comes where
it is meant to.
"""

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from tests.unit.scenes import away
from worker.model.ids import OperationId
from worker.model.operation import Operation
from worker.steps import Watch

FOR_GOOD = 60.0


class Kind(StrEnum):
    """What happens at the call."""

    ERROR_BEFORE = "error before"
    ERROR_AFTER = "error after"
    KILL_BEFORE = "kill before"
    KILL_AFTER = "kill after"
    KILL_DURING = "kill during"

    @property
    def kills(self) -> bool:
        return self.value.startswith("kill")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The call of that name before which there were so many of it; ``name`` None is any call."""

    name: str | None = None
    before: int = 0


def places(names: Sequence[str]) -> list[Place]:
    """Return where each of these calls, in their order, is to be found again."""
    return [
        Place(name=name, before=names[:number].count(name)) for number, name in enumerate(names)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The trouble: ``kind`` at that place of the operation, or of all together where none is named.

    A kill during the call comes ``seconds`` after its begin. ``hold`` is a process to be stopped
    at that begin, for whoever gave the orders to let go on later: the call cannot end before.
    ``failing`` is an earlier place at which the call fails before its effect, so that what comes
    next is the way back.
    """

    at: Place
    kind: Kind
    operation: str | None = None
    seconds: float = 0.0
    hold: int | None = None
    failing: Place | None = None


class Orders:
    """The orders of one state folder: given by the one who tests, carried out by the worker."""

    def __init__(self, folder: Path) -> None:
        self._plan = folder / "trouble.json"
        self._happened = folder / "trouble.happened"

    def give(self, plan: Plan) -> None:
        """From now on, count calls and make trouble."""
        self._happened.unlink(missing_ok=True)
        whole = self._plan.with_suffix(".new")
        whole.write_text(json.dumps(asdict(plan)))
        whole.rename(self._plan)

    def withdraw(self) -> None:
        """No more trouble."""
        self._plan.unlink(missing_ok=True)

    def plan(self) -> Plan | None:
        with suppress(FileNotFoundError):
            return _plan(json.loads(self._plan.read_text()))
        return None

    def note(self, name: str) -> None:
        self._happened.write_text(name)

    def happened(self) -> str | None:
        """Return the name of the call that met with trouble, if there was one."""
        with suppress(FileNotFoundError):
            return self._happened.read_text()
        return None


def _plan(found: dict[str, Any]) -> Plan:
    failing = found["failing"]
    typed = {
        "kind": Kind(found["kind"]),
        "at": Place(**found["at"]),
        "failing": None if failing is None else Place(**failing),
    }
    return Plan(**found | typed)


class Trouble:
    """The watches that carry the orders out, one an operation."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._lock = threading.Lock()
        self._made: Counter[str | None] = Counter()
        self._counting: Plan | None = None

    def over(self, operation: Operation) -> Watch:
        """Return the watch over the calls of that operation."""
        return partial(self._watch, operation.id)

    def _watch(self, operation: OperationId, name: str) -> AbstractContextManager[None]:
        plan = self._orders.plan()
        here = self._counted(plan, operation, name)
        if plan is None or not here:
            return _peace()
        if plan.failing in here:
            raise away(name)
        if plan.at not in here:
            return _peace()
        self._orders.note(name)
        return _around(name, plan)

    def _counted(self, plan: Plan | None, operation: OperationId, name: str) -> list[Place]:
        """Return which place this is, by its name and as any call; none where nobody counts."""
        with self._lock:
            if plan != self._counting:
                self._counting = plan
                self._made.clear()
            if plan is None or plan.operation not in {None, operation}:
                return []
            found = [Place(name=each, before=self._made[each]) for each in (name, None)]
            self._made.update((name, None))
            return found


@contextmanager
def _peace() -> Iterator[None]:
    yield


@contextmanager
def _around(name: str, plan: Plan) -> Iterator[None]:
    match plan.kind:
        case Kind.ERROR_BEFORE:
            raise away(name)
        case Kind.KILL_BEFORE:
            _die()
        case Kind.KILL_DURING:
            _die_within(plan)
    try:
        yield
    finally:
        if plan.kind is Kind.KILL_DURING:
            # What the call came to is nobody's to see.
            time.sleep(FOR_GOOD)
    if plan.kind is Kind.KILL_AFTER:
        _die()
    raise away(name)


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def _die_within(plan: Plan) -> None:
    if plan.hold is not None:
        os.kill(plan.hold, signal.SIGSTOP)
    threading.Timer(plan.seconds, _die).start()
