"""Points with two troubles: a kill on the way back, and an error in the run after a kill."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tests.chaos.points import Call, Point, Second, calls_in, calls_of, through
from tests.chaos.scenes import Scene
from tests.chaos.stage import Stage
from tests.chaos.trouble import Kind
from tests.processes import Json
from worker.model.operation import OperationState
from worker.steps import LOOKS

KILLS = (Kind.KILL_BEFORE, Kind.KILL_AFTER, Kind.KILL_DURING)
ERRORS = (Kind.ERROR_BEFORE, Kind.ERROR_AFTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Which kills and which errors in the second run are paired."""

    kills: Sequence[Kind] = KILLS
    errors: Sequence[Kind] = ERRORS

    def __str__(self) -> str:
        """Name them."""
        return f"{{{', '.join(self.kills)}}} x {{{', '.join(self.errors)}}}"


SAMPLE = Pairs(kills=(Kind.KILL_AFTER,), errors=(Kind.ERROR_BEFORE,))


def way_back_points(stage: Stage, scene: Scene) -> list[Point]:
    """Kill at each call of the longest way back: that of the last call that can fail."""
    for failing in reversed(calls_of(stage, scene)):
        ended = _tried(stage, Point(scene=scene, at=failing, kind=Kind.ERROR_BEFORE))
        if ended["state"] == OperationState.FAILED:
            back = calls_in(ended["steps"])[failing.number :]
            return [
                Point(scene=scene, at=call, kind=kind, failing=failing)
                for call in back
                for kind in KILLS
            ]
    return []


def second_run_points(stage: Stage, scene: Scene, pairs: Pairs) -> list[Point]:
    """Kill at each acting call; in the second run fail each call up to that one."""
    first = [
        Point(scene=scene, at=call, kind=kill)
        for call in calls_of(stage, scene)
        if call.name not in LOOKS
        for kill in pairs.kills
    ]
    return [
        again
        for point in first
        for again in _again(point, _second_run(_tried(stage, point), point.call), pairs.errors)
    ]


def _again(point: Point, calls: Sequence[Call], errors: Sequence[Kind]) -> Iterator[Point]:
    for call in calls:
        for kind in errors:
            yield replace(point, again=Second(at=call, kind=kind))


def _second_run(ended: Json, last: str) -> list[Call]:
    """Return the calls of the run after the kill, up to the one at which the kill came."""
    latest = max(step["attempt"] for step in ended["steps"])
    calls = calls_in([step for step in ended["steps"] if step["attempt"] == latest])
    end = next((call.number for call in calls if call.name == last), len(calls))
    return calls[:end]


def _tried(stage: Stage, point: Point) -> Json:
    """Make the trouble only to see what calls come of it."""
    case = point.scene.prepare(stage)
    ended = through(stage, point, case)
    if ended["state"] == OperationState.STUCK:
        stage.renew()
    else:
        point.scene.clear(stage, case)
    return ended
