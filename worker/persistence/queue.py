"""Who writes next: one at a time, and whoever writes may do it for those who wait.

A lock would be passed through all who wait, though their work is done: each would hold it until
Python lets its thread run, and hold up the next writer meanwhile. Here a thread whose work another
has done is only told so.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection


def _closed() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(slots=True)
class Waiting:
    """A change whose thread waits for its turn, or for the one who makes it too.

    One that is ``alone`` was in a group that failed, and is made with nobody's again.
    """

    change: Callable[[Connection], Any]
    alone: bool = False
    done: bool = False
    result: Any = None
    has_turn: bool = False
    given_up: bool = False
    told: threading.Lock = field(default_factory=_closed)


class Queue:
    """The turn is one thread's from ``enter`` until ``leave``."""

    def __init__(self) -> None:
        """Nobody has it."""
        self._lock = threading.Lock()
        self._taken = False
        self._waiting: deque[Waiting] = deque()

    def try_enter(self) -> bool:
        """Take the turn if nobody has it; return whether it is ours."""
        with self._lock:
            free, self._taken = not self._taken, True
            return free

    def enter(self, mine: Waiting) -> None:
        """Return with the turn, or once the change is ``done``: then the turn is another's."""
        with self._lock:
            if not self._taken:
                self._taken = mine.has_turn = True
                return
            self._waiting.append(mine)
        try:
            mine.told.acquire()
        except BaseException:
            self._give_up(mine)
            raise

    def companions(self) -> Sequence[Waiting]:
        """Return those who wait and may be served together: for who has the turn."""
        with self._lock:
            found = [each for each in self._waiting if not each.alone]
            self._waiting = deque(each for each in self._waiting if each.alone)
        return found

    def settle(self, companions: Sequence[Waiting]) -> None:
        """Tell those whose change is made; the others wait for a turn of their own."""
        for each in companions:
            if each.done:
                each.told.release()
                continue
            each.alone = True
            with self._lock:
                self._waiting.append(each)

    def leave(self) -> None:
        """Hand the turn to who waits longest, or to nobody."""
        with self._lock:
            following = self._following()
            self._taken = following is not None
        if following is not None:
            following.told.release()

    def _following(self) -> Waiting | None:
        while self._waiting:
            following = self._waiting.popleft()
            if not following.given_up:
                following.has_turn = True
                return following
        return None

    def _give_up(self, mine: Waiting) -> None:
        """Wait no more: a signal's handler may raise where a thread waits."""
        with self._lock:
            mine.given_up = True
        if mine.has_turn:
            self.leave()
