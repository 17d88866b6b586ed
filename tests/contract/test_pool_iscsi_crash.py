"""The pool's exports, cut off at each thing that tgtd is told: the same call again finishes it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.pool_records import FakePoolRecords
from tests.tgtds import (
    HOST,
    INITIATOR,
    OTHER_INITIATOR,
    ExportingPool,
    exporting,
    private_tgtd,
    size_seen,
    users,
)
from tests.unit.pool_scenes import GUEST, ONE, OTHER_GUEST, SIZE, Crash, make
from worker.model.ids import AttachmentId, InstanceId
from worker.volume.pool.tgt import Tgt, _Act
from worker.volume.pool.tgtd import Daemon, PrivateTgtd

THIRD_GUEST = InstanceId("55555555-5555-4555-8555-555555555555")
GUESTS = {GUEST: INITIATOR, OTHER_GUEST: OTHER_INITIATOR, THIRD_GUEST: INITIATOR}


class WatchedTgt(Tgt):
    """A tgtd to which each change is counted; the worker may die at one, before it or after."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.changes = 0
        self.die_at: tuple[int, str] | None = None

    def _ask(self, mode: Any, act: Any, *words: Any, **more: Any) -> str:  # noqa: ANN401
        if act is _Act.SHOW:
            return super()._ask(mode, act, *words, **more)
        self.changes += 1
        self._maybe("before")
        answer = super()._ask(mode, act, *words, **more)
        for target in super().targets():
            assert target.users or not target.initiators, "who is let in is asked for a password"
        self._maybe("after")
        return answer

    def _maybe(self, when: str) -> None:
        if self.die_at == (self.changes, when):
            self.die_at = None
            raise Crash


@dataclass(kw_only=True)
class Watched(Daemon):
    """The daemon, watched."""

    private: PrivateTgtd
    tgt: WatchedTgt = field(init=False)

    def __post_init__(self) -> None:
        self.tgt = WatchedTgt(self.private._state / "ipc.0")  # noqa: SLF001

    def ensure(self) -> str:
        return self.private.ensure()

    def end(self) -> None:
        self.private.end()


@pytest.fixture(scope="module")
def daemon() -> Iterator[Watched]:
    with private_tgtd() as found:
        yield Watched(private=found)


def attach(pool: ExportingPool, guest: InstanceId) -> AttachmentId:
    held = pool.attachments.create(ONE, guest)
    connector = {"host": HOST, "initiator": GUESTS[guest]}
    pool.attachments.connect(held.id, connector)
    pool.attachments.complete(held.id)
    return held.id


def leave(pool: ExportingPool, guest: InstanceId) -> None:
    held = pool.attachments.find(ONE, guest)
    if held is not None:
        pool.attachments.delete(held.id)


def renew(pool: ExportingPool) -> None:
    record = pool.records.volume(ONE)
    assert record is not None
    pool.face.grown(record, pool.records.attachments(ONE))


Scene = tuple[tuple[InstanceId, ...], Callable[[ExportingPool], object]]

SCENES: dict[str, Scene] = {
    "the first comes": ((), lambda pool: attach(pool, GUEST)),
    "another comes": ((GUEST,), lambda pool: attach(pool, OTHER_GUEST)),
    "the last goes": ((GUEST,), lambda pool: leave(pool, GUEST)),
    "the first of three goes": (tuple(GUESTS), lambda pool: leave(pool, GUEST)),
    "the second of three goes": (tuple(GUESTS), lambda pool: leave(pool, OTHER_GUEST)),
    "the last of three goes": (tuple(GUESTS), lambda pool: leave(pool, THIRD_GUEST)),
    "the volume grows": ((GUEST, OTHER_GUEST), renew),
}


def seen(daemon: Watched) -> object:
    """What tgtd has, whoever is behind the logins."""
    shown = daemon.tgt.targets()
    things = [(each.iqn, each.luns, len(each.users), each.initiators) for each in shown]
    return things, len(users(daemon.private._state))  # noqa: SLF001


@pytest.mark.parametrize("name", SCENES)
def test_cut_off_at_any_change_it_is_finished_by_the_same_call(
    daemon: Watched, tmp_path: Path, name: str
) -> None:
    before, act = SCENES[name]
    daemon.ensure()
    undisturbed, changes = played(daemon, tmp_path, before, act, None)
    assert changes > 1

    for number in range(1, changes + 1):
        for when in ("before", "after"):
            outcome, _ = played(daemon, tmp_path, before, act, (number, when))
            assert outcome == undisturbed, (number, when)


def test_cut_off_and_given_up_it_leaves_nothing(daemon: Watched, tmp_path: Path) -> None:
    daemon.ensure()
    _, changes = played(daemon, tmp_path, (GUEST,), lambda pool: attach(pool, OTHER_GUEST), None)

    for number in range(1, changes + 1):
        pool = exporting(daemon, tmp_path / "pool")
        make(pool.pool, multiattach=True)
        attach(pool, GUEST)
        before = seen(daemon)
        daemon.tgt.changes, daemon.tgt.die_at = 0, (number, "after")
        with pytest.raises(Crash):
            attach(pool, OTHER_GUEST)
        # The worker that comes up next is asked for nothing else of the volume.
        pool = exporting(daemon, tmp_path / "pool", pool.records)
        leave(pool, OTHER_GUEST)
        assert seen(daemon) == before, number
        leave(pool, GUEST)
        pool.pool.delete(ONE)


def played(
    daemon: Watched,
    folder: Path,
    before: tuple[InstanceId, ...],
    act: Callable[[ExportingPool], object],
    die_at: tuple[int, str] | None,
) -> tuple[object, int]:
    """Play the scene, the worker started anew if it dies; return what tgtd has then."""
    records = FakePoolRecords()
    pool = exporting(daemon, folder / "pool", records)
    make(pool.pool, multiattach=True)
    for guest in before:
        attach(pool, guest)
    daemon.tgt.changes, daemon.tgt.die_at = 0, die_at
    try:
        act(pool)
    except Crash:
        pool = exporting(daemon, folder / "pool", records)
        pool.keeper.look()
        act(pool)
    assert daemon.tgt.die_at is None
    changes, outcome = daemon.tgt.changes, seen(daemon)
    for held in records.attachments(ONE):
        opened = pool.attachments.get(held.id).connection
        assert opened is not None
        assert held.instance is not None
        if die_at is None:
            assert size_seen(opened, GUESTS[held.instance]) == SIZE
    for guest in GUESTS:
        leave(pool, guest)
    pool.pool.delete(ONE)
    assert seen(daemon) == ([], 0)
    return outcome, changes
