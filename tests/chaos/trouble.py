"""Trouble at one outside call of an operation, as orders in the worker's state folder say.

The orders come by a file, so that one worker serves many points: it sets the scene without
trouble, then finds the orders, and counts calls from there.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import NoReturn

from tests.unit.scenes import away

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
class Plan:
    """The trouble: ``kind`` at the call of that number, from 0.

    A kill during the call comes ``seconds`` after its begin. ``hold`` is a process to be stopped
    at that begin, for whoever gave the orders to let go on later: the call cannot end before.
    ``failing`` is the number of an earlier call that fails before its effect, so that what comes
    next is the way back.
    """

    at: int
    kind: Kind
    seconds: float = 0.0
    hold: int | None = None
    failing: int | None = None


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
            found = json.loads(self._plan.read_text())
            return Plan(**found | {"kind": Kind(found["kind"])})
        return None

    def note(self, name: str) -> None:
        self._happened.write_text(name)

    def happened(self) -> str | None:
        """Return the name of the call that met with trouble, if there was one."""
        with suppress(FileNotFoundError):
            return self._happened.read_text()
        return None


class Trouble:
    """The watch that carries the orders out."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._count = 0

    def __call__(self, name: str) -> AbstractContextManager[None]:
        """Return the watch around one call."""
        plan = self._orders.plan()
        if plan is None:
            self._count = 0
            return _peace()
        number, self._count = self._count, self._count + 1
        if number == plan.failing:
            raise away(name)
        if number != plan.at:
            return _peace()
        self._orders.note(name)
        return _around(name, plan)


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
