"""Steps are named by bare texts in many places: each must be the call of an outside port."""

import ast
from abc import ABC
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import pytest

import worker
from worker.errors import HypervisorUnavailable
from worker.ports import Outside
from worker.steps import LOOKS, OUTSIDE
from worker.wiring.core import CHANGES_GUESTS
from worker.wiring.waiting import NOT_WAITED_FOR, OF_THIS_HOST, Waiting

PORTS: dict[str, type[ABC]] = get_type_hints(Outside)


def calls() -> frozenset[str]:
    """Every call that an outside port promises."""
    return frozenset(
        f"{name}.{method}" for name, port in PORTS.items() for method in port.__abstractmethods__
    )


def asked_of() -> Iterator[ast.expr]:
    """What the worker's code asks of an operation's earlier run, or has a part of it ask."""
    (root,) = worker.__path__
    for path in Path(root).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(attr="earlier" | "reached"), args=[step, *_]):
                    yield step
                case ast.Call(func=ast.Name(id="see_off"), keywords=[ast.keyword(value=step)]):
                    yield step


def test_the_earlier_run_is_asked_only_for_calls_that_there_are() -> None:
    steps = {one.value for one in asked_of() if isinstance(one, ast.Constant)}
    assert {"disks.unplug", "rescues.start"} <= steps
    assert steps <= calls()


def test_it_is_asked_by_a_plain_text_but_where_one_is_passed_on() -> None:
    other = [ast.unparse(one) for one in asked_of() if not isinstance(one, ast.Constant)]
    assert set(other) == {"step", "until"}


def test_what_is_said_of_a_call_is_said_of_one_that_there_is() -> None:
    assert calls() >= LOOKS | NOT_WAITED_FOR


def test_what_is_said_of_a_port_is_said_of_an_outside_one() -> None:
    assert set(OUTSIDE) >= CHANGES_GUESTS | OF_THIS_HOST


@pytest.mark.parametrize("port", OUTSIDE)
def test_what_is_away_is_asked_again_but_for_what_is_of_this_host(port: str) -> None:
    answers = iter([HypervisorUnavailable("away"), None])

    def call() -> bool:
        error = next(answers)
        if error is not None:
            raise error
        return True

    waiting = Waiting(lambda: 60.0, rest=lambda _seconds: None)
    if port in OF_THIS_HOST:
        with pytest.raises(HypervisorUnavailable):
            waiting.call(f"{port}.call", call)
    else:
        assert waiting.call(f"{port}.call", call)
