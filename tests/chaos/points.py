"""The points of the matrix: each outside call of each scene, with each kind of trouble."""

import os
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import RowMapping

from tests.chaos import journal, views
from tests.chaos.scenes import Scene
from tests.chaos.stage import Case, Stage
from tests.chaos.trouble import Kind, Place, Plan, places
from tests.guests import qemu_of
from tests.processes import Json
from worker.model.block_device import DeviceStatus
from worker.model.ids import new_uuid
from worker.model.operation import OperationState
from worker.persistence.schema import BLOCK_DEVICES, PERIPHERALS
from worker.steps import LOOKS

HELD = (
    "disks.attach",
    "disks.unplug",
    "disks.resize",
    "block_copies.begin",
    "block_copies.pivot",
    "guest_peripherals.attach",
    "guest_peripherals.unplug",
)
"""Calls that QEMU answers: it is stopped at their begin, and goes on when the worker is back."""

SENT_WITHIN = 0.3
BACK_FOR = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a run; ``seconds`` is what it took without trouble."""

    number: int
    name: str
    place: Place
    seconds: float

    def __str__(self) -> str:
        """Name it, by its number from 1 on too."""
        return f"call {self.number} {self.name}"


def calls_in(steps: Sequence[Json]) -> list[Call]:
    """Return the calls of one run, as its steps have them."""
    found = places([step["name"] for step in steps])
    return [
        Call(number=number, name=step["name"], place=place, seconds=step["seconds"])
        for number, (step, place) in enumerate(zip(steps, found, strict=True), 1)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Second:
    """What befalls the run after a kill."""

    at: Call
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One trouble at one call; before it the call ``failing`` fails, if any."""

    scene: Scene
    at: Call
    kind: Kind
    failing: Call | None = None
    again: Second | None = None

    @property
    def call(self) -> str:
        return self.at.name

    def __str__(self) -> str:
        """Name the point, so that it can be found again."""
        said = f"{self.scene.name}, {self.at}, {self.kind}"
        if self.failing is not None:
            said += f" on the way back from call {self.failing.number}"
        if self.again is not None:
            said += f"; second run, {self.again.at}, {self.again.kind}"
        return said

    @property
    def fails(self) -> bool:
        """Whether there is a reason for the operation to fail."""
        return not self.kind.kills or self.failing is not None or self.again is not None


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
    """Return one trouble of each kind at each call."""
    every = tuple(kinds)
    return [
        Point(scene=scene, at=call, kind=kind) for call in calls_of(stage, scene) for kind in every
    ]


def calls_of(stage: Stage, scene: Scene) -> list[Call]:
    """Find the calls by a run without trouble; raise if even that is not as it must be."""
    case = scene.prepare(stage)
    operation = new_uuid()
    stage.send(scene.method, operation, scene.arguments(case))
    ended = stage.end_of(operation)
    wrong = _other_end(scene, ended)
    wrong += scene.differences(stage, case, scene.after(case))
    wrong += journal.differences(stage, ended, attempts=0)
    assert not wrong, f"{scene.name}, without trouble: {wrong}"
    scene.clear(stage, case)
    return calls_in(ended["steps"])


def prove(stage: Stage, point: Point) -> Outcome:
    """Make the trouble, start the worker again if it died, and look at everything."""
    begun = time.monotonic()
    end = "-"
    try:
        case = point.scene.prepare(stage)
        ended = through(stage, point, case)
        end = _described(ended)
        found = _differences(stage, point, case, ended)
        if not found and ended["state"] != OperationState.STUCK:
            point.scene.clear(stage, case)
    except Exception as error:  # noqa: BLE001 - whatever it was, the point has failed
        found = [f"{type(error).__name__}: {error}"]
    if found or end.startswith(OperationState.STUCK):
        found += _renewed(stage)
    return Outcome(point=point, end=end, differences=found, seconds=time.monotonic() - begun)


def _renewed(stage: Stage) -> list[str]:
    """Begin anew for the points to come; if that fails, this one and they say so."""
    try:
        stage.renew()
    except Exception as error:  # noqa: BLE001 - the other points have their turn all the same
        return [f"no new stage: {type(error).__name__}: {error}"]
    return []


def through(stage: Stage, point: Point, case: Case) -> Json:
    """Make the trouble; return the operation at its end."""
    operation = new_uuid()
    plan = _plan(point, case, operation)
    stage.orders.give(plan)
    try:
        stage.send(point.scene.method, operation, point.scene.arguments(case))
        if plan.kind.kills:
            _come_back(stage, plan, point)
    finally:
        if plan.hold is not None:
            os.kill(plan.hold, signal.SIGCONT)
    ended = stage.end_of(operation)
    stage.orders.withdraw()
    return ended


def _plan(point: Point, case: Case, operation: str) -> Plan:
    during = point.kind is Kind.KILL_DURING
    plan = Plan(
        at=point.at.place,
        kind=point.kind,
        operation=operation,
        seconds=point.at.seconds / 2,
        failing=None if point.failing is None else point.failing.place,
    )
    if during and case.running and point.call in HELD:
        return replace(plan, seconds=SENT_WITHIN, hold=qemu_of(case.guest))
    return plan


def _come_back(stage: Stage, plan: Plan, point: Point) -> None:
    stage.wait_for_death()
    stage.orders.withdraw()
    if point.again is not None:
        assert stage.orders.happened() == point.call, stage.orders.happened()
        again = Plan(at=point.again.at.place, kind=point.again.kind, operation=plan.operation)
        stage.orders.give(again)
    stage.served.start()
    if plan.hold is not None:
        # Long enough for the worker to take the operation up while the old call is under way.
        time.sleep(BACK_FOR)


def _differences(stage: Stage, point: Point, case: Case, ended: Json) -> list[str]:
    happened = stage.orders.happened()
    meant = point.call if point.again is None else point.again.at.name
    found = [] if happened == meant else [f"the trouble came at {happened}"]
    died = int(point.kind.kills)
    # A death in a look may pass uncounted: what opens it is perhaps not written down.
    counted = died if point.call not in LOOKS else 0
    found += journal.differences(stage, ended, attempts=died, at_least=counted)
    if ended["state"] == OperationState.STUCK:
        return found + _not_named(stage, case, ended)
    succeeded = ended["state"] == OperationState.SUCCEEDED
    if not point.fails:
        found += [f"a death changes nothing: {wrong}" for wrong in _other_end(point.scene, ended)]
    wanted = point.scene.after if succeeded else point.scene.before
    return found + point.scene.differences(stage, case, wanted(case))


def _other_end(scene: Scene, ended: Json) -> list[str]:
    """Say that it did not end as it does without trouble."""
    fault = ended["fault"]
    code = None if fault is None else fault["code"]
    return [] if code == scene.refused else [f"ended with {fault}, not {scene.refused}"]


def _not_named(stage: Stage, case: Case, ended: Json) -> list[str]:
    """What is stuck says what is left behind, on the device too."""
    found = [] if ended["fault"]["message"] else ["stuck, and not said what is left"]
    rows = [row for row in _rows(stage, case) if not row["deleted"]]
    wrong = [row["status"] for row in rows if row["status"] != DeviceStatus.ERROR.value]
    return found + [f"stuck, and the row is {status}" for status in wrong]


def _rows(stage: Stage, case: Case) -> list[RowMapping]:
    if "port_id" in case.row:
        return views.select_all(stage, PERIPHERALS, PERIPHERALS.c.port_id == case.row["port_id"])
    of_it = BLOCK_DEVICES.c.instance_uuid == case.guest.uuid
    which = BLOCK_DEVICES.c.uuid == case.row["uuid"] if "uuid" in case.row else of_it
    return views.select_all(stage, BLOCK_DEVICES, which)


def _described(ended: Json) -> str:
    fault = ended["fault"]
    return str(ended["state"]) if fault is None else f"{ended['state']} ({fault['code']})"
