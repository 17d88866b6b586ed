"""One operation held in the middle, while something that the worker needs goes away."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Engine

from tests.chaos import journal, views
from tests.chaos.stage import Case, Stage
from tests.guests import Guest, GuestMaker, found_again
from tests.rig import SOON, Json, Rig
from worker.errors import Unavailable

ResultT = TypeVar("ResultT")


class Side(StrEnum):
    """On which side of its effect an outside call is held."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(kw_only=True)
class Held:
    """A point at which the first operation that comes by stops."""

    call: str
    side: Side
    _reached: threading.Event = field(default_factory=threading.Event)
    _going_on: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> None:
        """Wait until the operation is there."""
        assert self._reached.wait(SOON), f"{self.side} {self.call} is not reached"

    def go_on(self) -> None:
        """Let the operation go on; any other passes."""
        self._going_on.set()

    def pass_by(self, call: str, side: Side) -> None:
        """Stop here if this is the point."""
        if (call, side) == (self.call, self.side) and not self._reached.is_set():
            self._reached.set()
            self._going_on.wait(SOON)


class Hold:
    """The watch that holds an operation."""

    def __init__(self) -> None:
        self._held: Held | None = None

    @contextmanager
    def at(self, call: str, side: Side) -> Iterator[Held]:
        """Hold the first operation that gets there; at the end it goes on."""
        self._held = Held(call=call, side=side)
        try:
            yield self._held
        finally:
            self._held.go_on()
            self._held = None

    @contextmanager
    def __call__(self, call: str) -> Iterator[None]:
        """Stand around one outside call."""
        held = self._held
        if held is not None:
            held.pass_by(call, Side.BEFORE)
        yield
        if held is not None:
            held.pass_by(call, Side.AFTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """A worker, a guest in its care, and an eye on all views of what is attached to it."""

    rig: Rig
    hold: Hold
    guest: Guest
    stage: Stage

    def reserved(self) -> Case:
        """Make a volume and a reservation for it."""
        volume = self.rig.volume()
        row = self.rig.reserve(self.guest.uuid, volume)
        return Case(guest=self.guest, running=True, volume=volume, row=row)

    def attached(self) -> Case:
        """Make a volume and attach it; the guest has seen it."""
        case = self.reserved()
        ended = self.rig.end_of(self.begin("attach_volume", case))
        assert ended["state"] == "succeeded", ended
        self.guest.wait_for_disk(case.row["device_name"].removeprefix("/dev/"))
        return case

    def prepared(self, method: str) -> Case:
        """Return what the method can be asked for."""
        return self.reserved() if method == "attach_volume" else self.attached()

    def begin(self, method: str, case: Case) -> str:
        """Ask for the operation; return its id."""
        arguments = {"instance_uuid": self.guest.uuid, "bdm_uuid": case.row["uuid"]}
        if method == "detach_volume":
            arguments["volume_id"] = case.volume
        return self.rig.cast(method, **arguments)

    def check(self, case: Case, ended: Json, *, attached: bool) -> None:
        """Compare all views, the journal and what was heard; no death was counted."""
        self.check_kept(case, ended, attached=attached)
        self.check_told(ended)

    def check_kept(self, case: Case, ended: Json, *, attached: bool) -> None:
        """Compare all views and the journal; no death was counted."""
        case = replace(case, guest=found_again(case.guest))
        wanted = views.attached(case) if attached else views.gone(case)
        found = views.differences(self.stage, case, wanted)
        found += journal.differences(self.stage, ended, attempts=0)
        assert found == []

    def check_told(self, ended: Json) -> None:
        """The updates of the guest were heard, each and in order, up to the end's."""
        operation = ended["operation_id"]
        self.rig.wait_for(lambda update: _is_end(update, operation))
        with self.rig.heard:
            payloads = [update["payload"] for update in without_copies(self.rig.updates)]
        own = [each["sequence"] for each in payloads if each["instance_uuid"] == self.guest.uuid]
        assert own == list(range(1, len(own) + 1))

    def clear(self, case: Case) -> None:
        """Take the volume away again if it is there; that this works is part of the proof."""
        rows = self.rig.call("list_block_devices", instance_uuid=self.guest.uuid)
        if case.row["uuid"] in {row["uuid"] for row in rows}:
            ended = self.rig.end_of(self.begin("detach_volume", case))
            assert ended["state"] == "succeeded", ended
            self.check_kept(case, ended, attached=False)
        assert self.rig.run("delete_volume", volume_id=case.volume)["fault"] is None


def without_copies(updates: Iterable[Json]) -> list[Json]:
    """Return each update as it came first: what is told at least once may come again."""
    first: dict[str, Json] = {}
    for update in updates:
        first.setdefault(update["message_id"], update)
    return list(first.values())


def insist(work: Callable[[], ResultT]) -> ResultT:
    """Ask until there is an answer, as an API tier does that repeats itself safely."""
    while True:
        try:
            return work()
        except Unavailable:
            time.sleep(0.05)


def _is_end(update: Json, operation: str) -> bool:
    phase = str(update["event_type"]).rpartition(".")[2]
    ended = phase in ("end", "error", "stuck")
    return ended and bool(update["payload"]["operation_id"] == operation)


def ground(rig: Rig, hold: Hold, make_guest: GuestMaker, engine: Engine, folder: Path) -> Ground:
    """Return a ground with a guest that runs; ``engine`` reads the worker's database."""
    guest = make_guest()
    rig.call("adopt_instance", domain=guest.uuid)
    stage = Stage(uri=guest.uri, folder=folder, make_guest=make_guest)
    stage.engine = engine
    return Ground(rig=rig, hold=hold, guest=guest, stage=stage)
