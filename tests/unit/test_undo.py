"""The way back: walked newest first, never past a failure, never past the commit point."""

from collections.abc import Callable

import pytest

from tests.unit.scenes import Crash
from worker.errors import ConnectFailed, DatabaseUnavailable, GuestBusy, LeftBehind
from worker.model.operation import Operation
from worker.ports import Progress
from worker.undo import Undo

SECRET = "sesame-open-7391"


class Here(Progress):
    """Progress that is kept nowhere."""

    def __init__(self, *steps: str) -> None:
        self.passed = False
        self.steps = steps

    @property
    def operation(self) -> Operation | None:
        return None

    @property
    def past_commit_point(self) -> bool:
        return self.passed

    def pass_commit_point(self) -> None:
        self.passed = True

    def reached(self, step: str) -> bool:
        return step in self.steps

    def say(self, percent: int) -> None:
        raise AssertionError(percent)

    def rest(self, seconds: float) -> None:
        raise AssertionError(seconds)


class Walk:
    """Ways back that note that they were walked; some fail."""

    def __init__(self) -> None:
        self.walked: list[str] = []

    def way(self, name: str, error: BaseException | None = None) -> Callable[[], None]:
        def call() -> None:
            self.walked.append(name)
            if error is not None:
                raise error

        call.__qualname__ = name
        return call


@pytest.fixture
def walk() -> Walk:
    return Walk()


@pytest.fixture
def progress() -> Here:
    return Here()


def three_ways(undo: Undo, walk: Walk, middle: BaseException | None = None) -> None:
    undo.by(walk.way("oldest"))
    undo.by(walk.way("middle", middle))
    undo.by(walk.way("newest"))


def fail(progress: Progress, walk: Walk, error: BaseException, **ways: BaseException) -> None:
    with Undo(progress) as undo:
        three_ways(undo, walk, **ways)
        raise error


def test_without_an_error_nothing_is_taken_back(walk: Walk, progress: Here) -> None:
    with Undo(progress) as undo:
        three_ways(undo, walk)

    assert walk.walked == []


def test_ways_back_are_walked_newest_first_and_the_error_leaves(walk: Walk, progress: Here) -> None:
    with pytest.raises(GuestBusy, match="why"):
        fail(progress, walk, GuestBusy("why"))

    assert walk.walked == ["newest", "middle", "oldest"]


def test_an_unknown_error_is_taken_back_too(walk: Walk, progress: Here) -> None:
    with pytest.raises(ZeroDivisionError):
        fail(progress, walk, ZeroDivisionError())

    assert len(walk.walked) == 3


def test_arguments_are_those_of_the_moment_it_was_registered(progress: Here) -> None:
    taken_back: list[object] = []
    device = "as it was"

    def step() -> None:
        nonlocal device
        with Undo(progress) as undo:
            undo.by(taken_back.append, device)
            device = "changed since"
            raise GuestBusy

    with pytest.raises(GuestBusy):
        step()
    assert taken_back == ["as it was"]


def test_the_first_way_back_that_fails_ends_the_walk_and_all_that_is_left_is_named(
    walk: Walk, progress: Here
) -> None:
    with pytest.raises(LeftBehind) as caught:
        fail(progress, walk, GuestBusy("the guest keeps it"), middle=ConnectFailed("no answer"))

    assert walk.walked == ["newest", "middle"]
    assert str(caught.value) == "the guest keeps it; not taken back (no answer): middle, oldest"
    assert isinstance(caught.value.__cause__, ConnectFailed)
    assert isinstance(caught.value.__cause__.__context__, GuestBusy)


def test_what_no_adapter_translated_is_not_told(walk: Walk, progress: Here) -> None:
    with pytest.raises(LeftBehind) as caught:
        fail(progress, walk, RuntimeError(SECRET), middle=KeyError(SECRET))

    assert SECRET not in str(caught.value)
    assert "middle, oldest" in str(caught.value)


def test_a_callable_without_a_name_is_named_all_the_same(progress: Here) -> None:
    class Way:
        def __call__(self) -> None:
            raise ConnectFailed

        def __repr__(self) -> str:
            return "the nameless way"

    def step() -> None:
        with Undo(progress) as undo:
            undo.by(Way())
            raise GuestBusy

    with pytest.raises(LeftBehind, match="the nameless way"):
        step()


def test_nothing_is_taken_back_after_the_commit_point(walk: Walk, progress: Here) -> None:
    def step() -> None:
        with Undo(progress) as undo:
            three_ways(undo, walk)
            undo.commit_point()
            raise GuestBusy

    with pytest.raises(GuestBusy):
        step()
    assert progress.passed
    assert walk.walked == []


def test_nothing_is_taken_back_when_an_earlier_run_passed_it(walk: Walk, progress: Here) -> None:
    progress.passed = True

    with pytest.raises(GuestBusy):
        fail(progress, walk, GuestBusy())

    assert walk.walked == []


@pytest.mark.parametrize("error", [Crash(), KeyboardInterrupt(), SystemExit(), GeneratorExit()])
def test_a_worker_that_dies_takes_nothing_back(
    walk: Walk, progress: Here, error: BaseException
) -> None:
    with pytest.raises(type(error)):
        fail(progress, walk, error)

    assert walk.walked == []


def test_without_the_journal_nothing_is_taken_back(walk: Walk, progress: Here) -> None:
    with pytest.raises(DatabaseUnavailable):
        fail(progress, walk, DatabaseUnavailable())

    assert walk.walked == []


def test_a_journal_that_goes_away_on_the_way_back_is_no_left_behind(
    walk: Walk, progress: Here
) -> None:
    with pytest.raises(DatabaseUnavailable):
        fail(progress, walk, GuestBusy(), middle=DatabaseUnavailable())

    assert walk.walked == ["newest", "middle"]


def test_a_worker_that_dies_on_the_way_back_walks_no_further(walk: Walk, progress: Here) -> None:
    with pytest.raises(Crash):
        fail(progress, walk, GuestBusy(), middle=Crash())

    assert walk.walked == ["newest", "middle"]


def fails_again(
    progress: Here, walk: Walk, *, early: bool = False, disconnect: BaseException | None = None
) -> None:
    with Undo(progress) as undo:
        undo.earlier("connect", walk.way("disconnect", disconnect))
        undo.earlier("attach", walk.way("unplug"))
        undo.by(walk.way("delete"))
        if early:
            raise GuestBusy("busy")
        undo.by(walk.way("disconnect", disconnect))
        undo.by(walk.way("other"))
        raise GuestBusy("busy")


def test_what_an_earlier_run_came_to_is_taken_back_before_all_else(walk: Walk) -> None:
    with pytest.raises(GuestBusy):
        fails_again(Here("connect", "attach"), walk, early=True)
    assert walk.walked == ["unplug", "disconnect", "delete"]


def test_what_it_did_not_come_to_is_not(walk: Walk) -> None:
    with pytest.raises(GuestBusy):
        fails_again(Here("connect"), walk, early=True)
    assert walk.walked == ["disconnect", "delete"]


def test_a_step_that_this_run_came_to_is_taken_back_in_its_own_order(walk: Walk) -> None:
    """An earlier run's disconnect must not come before this run's unplug."""
    with pytest.raises(GuestBusy):
        fails_again(Here("connect"), walk)
    assert walk.walked == ["other", "disconnect", "delete"]


def test_what_is_left_of_both_runs_is_named_once(walk: Walk) -> None:
    with pytest.raises(LeftBehind) as caught:
        fails_again(Here("connect"), walk, disconnect=ConnectFailed("no answer"))
    assert str(caught.value) == "busy; not taken back (no answer): disconnect, delete"
