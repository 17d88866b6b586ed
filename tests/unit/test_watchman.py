"""The watchman: a step is named while it still runs, and a late operation marked."""

import logging
from collections.abc import Callable

import pytest

from tests import fakes
from tests.unit import scenes
from tests.unit.scenes import OPERATION, operation, soon
from worker.errors import DatabaseUnavailable
from worker.model.ids import OperationId
from worker.watchman import Watchman

ASKED = operation("attach_volume", **scenes.attach_arguments())
LONG = 3600.0


class Marks:
    """The journal, as far as it is told who is late."""

    def __init__(self, *errors: Exception) -> None:
        self.late: list[OperationId] = []
        self.errors = list(errors)

    def __call__(self, operation: OperationId) -> None:
        if self.errors:
            raise self.errors.pop()
        self.late.append(operation)


def watchman(slow: float = LONG, marks: Callable[[OperationId], None] | None = None) -> Watchman:
    return Watchman(lambda: slow, marks or Marks())


def test_a_slow_step_is_named_once_while_it_still_runs(caplog: pytest.LogCaptureFixture) -> None:
    found = watchman(slow=0.0)
    with found.watch(ASKED, LONG)("disks.attach"):
        found.look()
        found.look()
        (record,) = caplog.records
    assert record.levelno == logging.WARNING
    said = record.getMessage()
    assert said.startswith("step slow: ")
    assert OPERATION in said
    assert "step=disks.attach" in said


def test_a_step_that_is_quick_or_over_is_not_named(caplog: pytest.LogCaptureFixture) -> None:
    quick, over = watchman(), watchman(slow=0.0)
    with quick.watch(ASKED, LONG)("disks.attach"):
        quick.look()
    with over.watch(ASKED, LONG)("disks.attach"):
        pass
    over.look()
    assert caplog.records == []


def test_a_late_operation_is_marked_once_and_counted_while_its_step_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    marks = Marks()
    found = watchman(marks=marks)
    with found.watch(ASKED, 0.0)("disks.attach"):
        found.look()
        found.look()
        assert found.late() == 1
    assert found.late() == 0
    assert marks.late == [OPERATION]
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["operation late"]


def test_one_that_waits_between_two_tries_is_late_too_until_it_has_ended() -> None:
    marks = Marks()
    found = watchman(marks=marks)
    found.watch(ASKED, 0.0)
    found.look()
    assert (marks.late, found.late()) == ([OPERATION], 0)
    found.ended(ASKED)
    found.watch(ASKED, 0.0)
    found.ended(ASKED)
    found.look()
    assert marks.late == [OPERATION]


def test_one_that_could_not_be_marked_is_marked_at_the_next_look() -> None:
    marks = Marks(DatabaseUnavailable("away"))
    found = watchman(marks=marks)
    with found.watch(ASKED, 0.0)("disks.attach"):
        found.look()
        found.look()
    assert marks.late == [OPERATION]


def test_it_looks_by_itself_until_it_is_stopped() -> None:
    marks = Marks()
    found = watchman(marks=marks)
    found.start()
    with found.watch(ASKED, 0.0)("disks.attach"):
        assert soon(lambda: marks.late == [OPERATION])
    found.stop()


def test_an_operation_that_has_ended_is_not_marked() -> None:
    world = scenes.world()
    scenes.reserve(world)
    ended = scenes.run(world, ASKED)
    fakes.ports(world).operations.mark_late(ended.id)
    assert not fakes.ports(world).operations.get(ended.id).late
