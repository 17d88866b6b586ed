"""The gate: many pass together, one alone, and nobody waits for ever."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.unit.scenes import soon
from worker.gate import Gate

LONG = 10.0


class Visitor:
    """A thread that goes in, says so, and stays until it is let go."""

    def __init__(self, entrance: Callable[[], AbstractContextManager[None]]) -> None:
        self.inside = threading.Event()
        self.leave = threading.Event()
        self._entrance = entrance
        self._thread = threading.Thread(target=self._visit)
        self._thread.start()

    def _visit(self) -> None:
        with self._entrance():
            self.inside.set()
            assert self.leave.wait(LONG)

    def go(self) -> None:
        self.leave.set()
        self._thread.join(LONG)


def alone(gate: Gate) -> Callable[[], AbstractContextManager[None]]:
    return lambda: gate.alone("a suspect")


def test_many_pass_side_by_side() -> None:
    gate = Gate()
    visitors = [Visitor(gate.together) for _ in range(3)]
    assert all(visitor.inside.wait(LONG) for visitor in visitors)
    for visitor in visitors:
        visitor.go()


def test_one_alone_waits_for_those_inside_and_lets_nobody_in(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = Gate()
    first = Visitor(gate.together)
    assert first.inside.wait(LONG)
    suspect = Visitor(alone(gate))
    assert soon(lambda: "waits to run alone: a suspect others=1" in caplog.messages)
    assert not suspect.inside.wait(0.05)
    late = Visitor(gate.together)
    assert not late.inside.wait(0.05)
    first.go()
    assert suspect.inside.wait(LONG)
    assert not late.inside.is_set()
    suspect.go()
    assert late.inside.wait(LONG)
    late.go()


def test_what_hangs_holds_up_nobody_for_ever() -> None:
    gate = Gate(patience=0.05)
    hanging = Visitor(gate.together)
    assert hanging.inside.wait(LONG)
    suspect = Visitor(alone(gate))
    assert suspect.inside.wait(LONG)
    other = Visitor(gate.together)
    assert other.inside.wait(LONG)
    for visitor in (other, suspect, hanging):
        visitor.go()
