"""The short form of the crash matrix (`tox -e chaos`).

An attach and a detach are killed on each side of each call; one that only looks leaves nothing
behind in which its two sides could differ, and gets one kill. Of the other operations on an
instance each step that acts is done, and the worker dies before it has written that down. A soft
reboot is a stop and the start of a hard one.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.points import points_of, prove
from tests.chaos.scenes import SCENES
from tests.chaos.stage import Stage, stage
from tests.chaos.trouble import Kind
from tests.guests import GuestMaker
from worker.steps import LOOKS


@pytest.fixture
def played(libvirtd: str, tmp_path: Path, make_guest: GuestMaker) -> Iterator[Stage]:
    with stage(libvirtd, tmp_path, make_guest) as found:
        yield found


@pytest.mark.timeout(600)
@pytest.mark.parametrize("method", ["attach_volume", "detach_volume"])
def test_a_kill_on_either_side_of_any_call_leaves_all_views_agreed(
    played: Stage, method: str
) -> None:
    scene = next(each for each in SCENES if each.method == method)
    points = points_of(played, scene, (Kind.KILL_BEFORE, Kind.KILL_AFTER))
    telling = [each for each in points if each.kind is Kind.KILL_AFTER or each.call not in LOOKS]
    outcomes = [prove(played, point) for point in telling]
    assert len(outcomes) >= 10
    assert {str(each.point): each.differences for each in outcomes if not each.passed} == {}
    assert {each.end for each in outcomes} == {"succeeded"}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "name",
    [
        "extend what a running guest has",
        "attach an interface to a running guest",
        "detach one of two interfaces with one MAC from a running guest",
        "swap a volume of a running guest",
        "build an instance",
        "destroy an instance",
        "start a guest",
        "stop a guest",
        "reboot a guest hard",
        "rescue a running guest",
        "unrescue a guest that ran",
        "forget an adopted guest",
        "release an instance",
        "import an instance",
    ],
)
def test_a_kill_after_any_step_leaves_all_views_agreed(played: Stage, name: str) -> None:
    scene = next(each for each in SCENES if each.name == name)
    points = points_of(played, scene, (Kind.KILL_AFTER,))
    outcomes = [prove(played, point) for point in points if point.call not in LOOKS]
    assert outcomes
    assert {str(each.point): each.differences for each in outcomes if not each.passed} == {}
    assert {each.end for each in outcomes} == {"succeeded"}
