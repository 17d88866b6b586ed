"""Points with two troubles: a kill on the way back, and an error in the run after a kill."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.chaos.points import Point, calls_of, through
from tests.chaos.scenes import Scene
from tests.chaos.stage import Stage
from tests.chaos.trouble import Kind, Plan
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
    for failing in reversed(range(len(calls_of(stage, scene)))):
        plan = Plan(at=failing, kind=Kind.ERROR_BEFORE)
        ended = _tried(
            stage, Point(scene=scene, number=failing, call="", seconds=0, kind=plan.kind)
        )
        if ended["state"] == OperationState.FAILED:
            return list(_on_the_way_back(scene, failing, ended["steps"][failing + 1 :]))
    return []


def _on_the_way_back(scene: Scene, failing: int, steps: Sequence[Json]) -> Iterator[Point]:
    for number, step in enumerate(steps, failing + 1):
        for kind in KILLS:
            yield Point(
                scene=scene,
                number=number,
                call=step["name"],
                seconds=step["seconds"],
                kind=kind,
                failing=failing,
            )


def second_run_points(stage: Stage, scene: Scene, pairs: Pairs) -> list[Point]:
    """Kill at each acting call; in the second run fail each call up to that one."""
    first = [
        Point(scene=scene, number=number, call=step["name"], seconds=step["seconds"], kind=kill)
        for number, step in enumerate(calls_of(stage, scene))
        if step["name"] not in LOOKS
        for kill in pairs.kills
    ]
    return [
        again
        for point in first
        for again in _again(point, _second_run(_tried(stage, point), point.call), pairs.errors)
    ]


def _again(point: Point, calls: Sequence[str], errors: Sequence[Kind]) -> Iterator[Point]:
    for number, call in enumerate(calls):
        for kind in errors:
            yield Point(
                scene=point.scene,
                number=point.number,
                call=point.call,
                seconds=point.seconds,
                kind=point.kind,
                again=Plan(at=number, kind=kind),
                again_call=call,
            )


def _second_run(ended: Json, last: str) -> list[str]:
    """Return the calls of the run after the kill, up to the one at which the kill came."""
    latest = max(step["attempt"] for step in ended["steps"])
    calls = [step["name"] for step in ended["steps"] if step["attempt"] == latest]
    return calls[: calls.index(last) + 1] if last in calls else calls


def _tried(stage: Stage, point: Point) -> Json:
    """Make the trouble only to see what calls come of it."""
    case = point.scene.prepare(stage)
    ended = through(stage, point, case)
    if ended["state"] == OperationState.STUCK:
        stage.renew()
    else:
        point.scene.clear(stage, case)
    return ended
