"""The matrix can fail: each way back moved below its step, or dropped, turns it red."""

import ast
import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from types import ModuleType
from typing import Any

import pytest

from tests.unit import test_every_call_fails as matrix
from tests.unit import test_given_back as given
from tests.unit.scenes import run
from worker.execution import Kind
from worker.handlers import (
    attach_volume,
    build_instance,
    detach_volume,
    rescue_instance,
    return_volume,
    unrescue_instance,
)
from worker.rpc.methods import OPERATIONS


def undo_lines(body: list[ast.stmt], call: str = "undo.by(") -> Iterator[int]:
    """Yield the places of ``undo.…`` statements in a block."""
    for place, statement in enumerate(body):
        if ast.unparse(statement).startswith(call):
            yield place


def blocks(tree: ast.Module) -> list[list[ast.stmt]]:
    """Return the body of the one ``with Undo`` block, and of each ``if`` in it."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.With)]
    (only,) = [node for node in found if "Undo(" in ast.unparse(node.items[0])]
    return [only.body, *(node.body for node in ast.walk(only) if isinstance(node, ast.If))]


def dropped(body: list[ast.stmt], place: int) -> None:
    del body[place]


def below_its_step(body: list[ast.stmt], place: int) -> None:
    """Move the way back to the end of its group, below the step that it undoes."""
    statement = body.pop(place)
    group = next(
        (
            index
            for index in range(place, len(body))
            if ast.unparse(body[index]).startswith("undo.by(") and index > place
        ),
        len(body),
    )
    body.insert(group, statement)


HARMLESS = {
    "below_its_step: undo.by(_restore_status, device, ports)",
    "below_its_step: undo.by(roll_detaching, device, ports)",
    "below_its_step: undo.by(_forget, instance.uuid, ports)",
}
"""Of steps that change only our own row, or whose failure is passed over."""


def mutants(module: ModuleType) -> list[tuple[str, str]]:
    source = inspect.getsource(module)
    found = []
    for change, (number, place) in product((dropped, below_its_step), ways_back(source)):
        tree = ast.parse(source)
        body = blocks(tree)[number]
        name = f"{change.__name__}: {ast.unparse(body[place])}"
        change(body, place)
        if name not in HARMLESS:
            found.append((name, ast.unparse(tree)))
    return found


def ways_back(source: str) -> list[tuple[int, int]]:
    """Return where each is: in which block, and where in that."""
    bodies = enumerate(blocks(ast.parse(source)))
    return [(number, place) for number, body in bodies for place in undo_lines(body)]


def forgetful(module: ModuleType) -> list[tuple[str, str]]:
    """Return the module without one way back of an earlier run, once for each."""
    source = inspect.getsource(module)
    found = []
    for place in undo_lines(blocks(ast.parse(source))[0], "undo.earlier("):
        tree = ast.parse(source)
        statement = blocks(tree)[0][place]
        dropped(blocks(tree)[0], place)
        found.append((f"dropped: {ast.unparse(statement)}", ast.unparse(tree)))
    return found


def handler(source: str, name: str) -> Callable[..., Any]:
    space: dict[str, Any] = {}
    exec(compile(source, name, "exec"), space)  # noqa: S102 - our own source, mutated
    found: Callable[..., Any] = space[name]
    return found


WITH_WAYS_BACK = {
    "attach_volume": attach_volume,
    "build_instance": build_instance,
    "detach_volume": detach_volume,
    "rescue_instance": rescue_instance,
    "return_volume": return_volume,
    "unrescue_instance": unrescue_instance,
}

WHOLE = ("rescue_instance", "unrescue_instance")
"""What changes no row of a device: such a row cannot say that it is left half."""

MUTANTS = [
    pytest.param(method, source, id=f"{method}: {name}")
    for method, module in WITH_WAYS_BACK.items()
    for name, source in mutants(module)
]


@pytest.mark.parametrize(("method", "source"), MUTANTS)
def test_a_planted_bug_in_the_ways_back_is_caught(method: str, source: str) -> None:
    kind: Kind = replace(OPERATIONS[method], handler=handler(source, method))
    with pytest.raises(AssertionError):
        go_through_the_matrix(method, kind)


NOT_REACHED = "dropped: undo.earlier('disks.unplug', _check_kept, device, ports)"
"""Only an error before the second unplug would show it, and detach passes over those of today."""

IN_A_SECOND_RUN = [
    pytest.param(method, source, id=f"{method}: {name}")
    for method in WITH_WAYS_BACK
    if method != "build_instance"
    for name, source in forgetful(WITH_WAYS_BACK[method])
    if name != NOT_REACHED
]


@pytest.mark.parametrize(("method", "source"), IN_A_SECOND_RUN)
def test_a_planted_bug_that_only_a_second_run_shows_is_caught(method: str, source: str) -> None:
    kind: Kind = replace(OPERATIONS[method], handler=handler(source, method))
    with pytest.raises(AssertionError):
        go_through_the_second_runs(method, kind)


def go_through_the_second_runs(method: str, kind: Kind) -> None:
    for scene in matrix.SCENES.values():
        if scene.asked.method == method:
            matrix.fails_in_the_second_run(scene, kind)


def go_through_the_matrix(method: str, kind: Kind) -> None:
    for scene in matrix.SCENES.values():
        if scene.asked.method == method:
            matrix.fails_everywhere(scene, kind)
            matrix.crashes_everywhere(scene, kind)
            matrix.crashes_on_the_way_back(scene, kind)
            if method not in WHOLE:
                matrix.fails_while_nothing_can_be_seen(scene, kind)


FORGOTTEN: dict[str, Callable[[Kind], Kind]] = {
    "the runner gives nothing back": lambda kind: replace(kind, refused=None),
    "the handler gives nothing back": lambda kind: changed(
        kind,
        "or_given_back(_begun, give_reservation_back, request, ports)",
        "_begun(request, ports)",
    ),
}


def changed(kind: Kind, old: str, new: str) -> Kind:
    """Return the kind with one place of its handler's module changed."""
    source = inspect.getsource(inspect.getmodule(kind.handler) or attach_volume)
    assert source.count(old) == 1
    return replace(kind, handler=handler(source.replace(old, new), kind.handler.__name__))


@pytest.mark.parametrize("bug", FORGOTTEN)
def test_an_attach_that_may_not_begin_and_gives_nothing_back_is_caught(bug: str) -> None:
    kind = FORGOTTEN[bug](OPERATIONS["attach_volume"])
    with pytest.raises(AssertionError):
        go_through_the_refused(kind)


def go_through_the_refused(kind: Kind) -> None:
    for refused in given.REFUSED.values():
        world = refused.start()
        given.check(refused, world, run(world, refused.asked, kind=kind))


OF_A_RELEASE = {
    "a run after the release looks for no attachment": (
        "if held is not None:",
        "if held is not None and not device.deleted:",
    ),
    "a run after the release has nothing to do": (" or ports.progress.past_commit_point", ""),
    "the release is no commit point": ("undo.commit_point()", "pass"),
}


@pytest.mark.parametrize("bug", OF_A_RELEASE)
def test_a_planted_bug_in_the_release_of_a_reservation_is_caught(bug: str) -> None:
    method = "release_lapsed_reservation"
    kind = changed(OPERATIONS[method], *OF_A_RELEASE[bug])
    with pytest.raises(AssertionError):
        go_through_the_matrix(method, kind)
