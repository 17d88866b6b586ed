"""The points of the matrix: each outside call of each scene, with each kind of trouble."""

import os
import signal
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tests.chaos import journal, views
from tests.chaos.scenes import Scene
from tests.chaos.stage import Case, Stage
from tests.chaos.trouble import Kind, Plan
from tests.guests import qemu_of
from tests.processes import Json
from worker.errors import WorkerUnreachable
from worker.model.block_device import DeviceStatus
from worker.model.ids import new_uuid
from worker.model.operation import OperationState
from worker.persistence.schema import BLOCK_DEVICES

HELD = ("disks.attach", "disks.unplug")
"""Calls that QEMU answers: it is stopped at their begin, and goes on when the worker is back."""

SENT_WITHIN = 0.3
BACK_FOR = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One trouble at one call; ``seconds`` is what the call takes without trouble."""

    scene: Scene
    number: int
    call: str
    seconds: float
    kind: Kind

    def __str__(self) -> str:
        """Name the point, so that it can be found again."""
        return f"{self.scene.name}, call {self.number + 1} {self.call}, {self.kind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How it went: the operation's end, and what was not as it must be."""

    point: Point
    end: str
    differences: Sequence[str]
    seconds: float

    @property
    def passed(self) -> bool:
        return not self.differences


def points_of(stage: Stage, scene: Scene, kinds: Iterable[Kind] = tuple(Kind)) -> list[Point]:
    """Find the calls by a run without trouble; raise if even that is not as it must be."""
    case = scene.prepare(stage)
    ended = stage.run(scene.method, **scene.arguments(case))
    wrong = views.differences(stage, case, scene.after(case))
    wrong += journal.differences(stage, ended, attempts=0)
    assert not wrong, f"{scene.name}, without trouble: {wrong}"
    clear(stage, case)
    every = tuple(kinds)
    return [
        Point(scene=scene, number=number, call=step["name"], seconds=step["seconds"], kind=kind)
        for number, step in enumerate(ended["steps"])
        for kind in every
    ]


def prove(stage: Stage, point: Point) -> Outcome:
    """Make the trouble, start the worker again if it died, and look at everything."""
    begun = time.monotonic()
    end = "-"
    try:
        case = point.scene.prepare(stage)
        ended = _through(stage, point, case)
        end = _described(ended)
        found = _differences(stage, point, case, ended)
        if not found and ended["state"] != OperationState.STUCK:
            clear(stage, case)
    except Exception as error:  # noqa: BLE001 - whatever it was, the point has failed
        found = [f"{type(error).__name__}: {error}"]
    if found or end.startswith(OperationState.STUCK):
        stage.renew()
    return Outcome(point=point, end=end, differences=found, seconds=time.monotonic() - begun)


def clear(stage: Stage, case: Case) -> None:
    """Take the volume away again; that this works is part of the proof."""
    (row,) = views.select_all(stage, BLOCK_DEVICES, BLOCK_DEVICES.c.uuid == case.row["uuid"])
    if not row["deleted"]:
        stage.run(
            "detach_volume",
            instance_uuid=case.guest.uuid,
            volume_id=case.volume,
            bdm_uuid=case.row["uuid"],
        )
        wrong = views.differences(stage, case, views.gone(case))
        assert not wrong, f"after a detach that followed: {wrong}"
    stage.run("delete_volume", volume_id=case.volume)


def _through(stage: Stage, point: Point, case: Case) -> Json:
    plan = _plan(point, case)
    operation = new_uuid()
    stage.orders.give(plan)
    try:
        with suppress(WorkerUnreachable):
            stage.served.client.call(
                point.scene.method, operation_id=operation, **point.scene.arguments(case)
            )
        if plan.kind.kills:
            _come_back(stage, plan)
    finally:
        if plan.hold is not None:
            os.kill(plan.hold, signal.SIGCONT)
    ended = stage.served.end_of(operation)
    stage.orders.withdraw()
    return ended


def _plan(point: Point, case: Case) -> Plan:
    during = point.kind is Kind.KILL_DURING
    if during and case.running and point.call in HELD:
        hold = qemu_of(case.guest)
        return Plan(at=point.number, kind=point.kind, seconds=SENT_WITHIN, hold=hold)
    return Plan(at=point.number, kind=point.kind, seconds=point.seconds / 2)


def _come_back(stage: Stage, plan: Plan) -> None:
    stage.wait_for_death()
    stage.orders.withdraw()
    stage.served.start()
    if plan.hold is not None:
        # Long enough for the worker to take the operation up while the old call is under way.
        time.sleep(BACK_FOR)


def _differences(stage: Stage, point: Point, case: Case, ended: Json) -> list[str]:
    happened = stage.orders.happened()
    found = [] if happened == point.call else [f"the trouble came at {happened}"]
    found += journal.differences(stage, ended, attempts=1 if point.kind.kills else 0)
    if ended["state"] == OperationState.STUCK:
        return found + _not_named(stage, case, ended)
    succeeded = ended["state"] == OperationState.SUCCEEDED
    if point.kind.kills and not succeeded:
        found.append(f"a death is no reason to fail: {ended['fault']}")
    wanted = point.scene.after if succeeded else point.scene.before
    return found + views.differences(stage, case, wanted(case))


def _not_named(stage: Stage, case: Case, ended: Json) -> list[str]:
    """What is stuck says what is left behind, on the device too."""
    (row,) = views.select_all(stage, BLOCK_DEVICES, BLOCK_DEVICES.c.uuid == case.row["uuid"])
    found = [] if ended["fault"]["message"] else ["stuck, and not said what is left"]
    if row["status"] != DeviceStatus.ERROR.value:
        found.append(f"stuck, and the row is {row['status']}")
    return found


def _described(ended: Json) -> str:
    fault = ended["fault"]
    return str(ended["state"]) if fault is None else f"{ended['state']} ({fault['code']})"
