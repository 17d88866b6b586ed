"""One scene of the crash matrix (`tox -e chaos`) as it is played there: over RabbitMQ."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import guests
from tests.chaos.bus import broker
from tests.chaos.points import points_of, prove
from tests.chaos.scenes import SCENES
from tests.chaos.stage import Stage, stage
from tests.chaos.trouble import Kind


@pytest.fixture
def played(libvirtd: str, tmp_path: Path) -> Iterator[Stage]:
    image = guests.cached_guest_image()
    with (
        broker() as bus,
        guests.guest_maker(libvirtd, image, tmp_path) as make_guest,
        stage(libvirtd, tmp_path, make_guest, bus) as found,
    ):
        yield found


@pytest.mark.timeout(300)
def test_what_is_cast_is_carried_out_and_told_over_a_kill_at_any_call(played: Stage) -> None:
    scene = next(each for each in SCENES if each.name == "detach from a stopped guest")
    points = points_of(played, scene, (Kind.KILL_AFTER,))
    outcomes = [prove(played, point) for point in points]
    assert len(outcomes) >= 5
    assert {str(each.point): each.differences for each in outcomes if not each.passed} == {}
    assert {each.end for each in outcomes} == {"succeeded"}
