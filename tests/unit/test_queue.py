"""One writes at a time, and whoever writes may do it for those who wait."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import pytest

from worker.persistence.queue import Queue, Waiting

SOON = 5.0


class Announced:
    """A lock that says when somebody begins to wait for it."""

    def __init__(self) -> None:
        self.waited_for = threading.Event()
        self._lock = threading.Lock()
        self._lock.acquire()

    def acquire(self) -> None:
        self.waited_for.set()
        assert self._lock.acquire(timeout=SOON)

    def release(self) -> None:
        self._lock.release()


def a_change() -> Waiting:
    told: Any = Announced()
    return Waiting(lambda _connection: None, told=told)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as found:
        yield found


@pytest.fixture
def queue() -> Queue:
    """A queue whose turn is ours."""
    made = Queue()
    made.enter(a_change())
    return made


def queued(queue: Queue, pool: ThreadPoolExecutor, mine: Waiting) -> Future[None]:
    """Have a thread wait with the change; return once it does."""
    future = pool.submit(queue.enter, mine)
    announced: Any = mine.told
    assert announced.waited_for.wait(SOON)
    return future


def test_the_turn_is_one_threads_until_it_leaves(queue: Queue) -> None:
    assert not queue.try_enter()
    queue.leave()
    assert queue.try_enter()
    assert not queue.try_enter()


def test_the_turn_goes_to_who_waits_longest(queue: Queue, pool: ThreadPoolExecutor) -> None:
    first, second = a_change(), a_change()
    entering = [queued(queue, pool, each) for each in (first, second)]
    queue.leave()
    entering[0].result(SOON)
    assert (first.has_turn, second.has_turn) == (True, False)
    assert not queue.try_enter()
    queue.leave()
    entering[1].result(SOON)
    assert second.has_turn


def test_whose_change_was_made_goes_on_while_the_turn_is_anothers(
    queue: Queue, pool: ThreadPoolExecutor
) -> None:
    mine = a_change()
    entering = queued(queue, pool, mine)
    served = queue.companions()
    assert list(served) == [mine]
    mine.done = True
    queue.settle(served)
    entering.result(SOON)
    assert not mine.has_turn
    assert not queue.try_enter()
    queue.leave()
    assert queue.try_enter()


def test_of_a_group_that_failed_each_gets_a_turn_alone(
    queue: Queue, pool: ThreadPoolExecutor
) -> None:
    mine, later = a_change(), a_change()
    entering = queued(queue, pool, mine)
    queue.settle(queue.companions())
    assert not wait([entering], 0.1).done
    queued(queue, pool, later)
    assert list(queue.companions()) == [later]
    later.done = True
    queue.settle([later])
    queue.leave()
    entering.result(SOON)
    assert mine.has_turn
    assert mine.alone


class Interrupted:
    """A lock on which a signal's handler raises, once something has happened."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self._meanwhile = meanwhile

    def acquire(self) -> None:
        self._meanwhile()
        raise KeyboardInterrupt

    def release(self) -> None:
        """Nobody waits for it."""


@pytest.mark.parametrize("had_turn", [True, False], ids=["with the turn", "before it"])
def test_who_gives_up_keeps_no_turn(queue: Queue, had_turn: bool) -> None:  # noqa: FBT001
    told: Any = Interrupted(queue.leave if had_turn else lambda: None)
    mine = Waiting(lambda _connection: None, told=told)
    with pytest.raises(KeyboardInterrupt):
        queue.enter(mine)
    if not had_turn:
        queue.leave()
    assert queue.try_enter()
