"""What one stream waits for, and what has come for it."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from worker.persistence.fleet import FleetUpdate

MOST = 1000
"""Updates that may wait for a client to read them; one that is slower is cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Which updates: of one project or, without one, of all; of one instance, of one operation."""

    project: str | None
    instance: str | None = None
    operation: str | None = None

    def takes(self, update: FleetUpdate, project_of: Callable[[str], str | None]) -> bool:
        """Tell whether it is one of them; what has no project is everybody's who sees all."""
        if self.instance is not None and update.key.instance != self.instance:
            return False
        if self.operation is not None and update.payload.get("operation_id") != self.operation:
            return False
        return self.project is None or project_of(update.key.instance) == self.project


class Inbox:
    """A bounded queue; ``cut`` once more has come than it holds."""

    def __init__(self, listening: Listening, *, most: int = MOST) -> None:
        self.listening = listening
        self.cut = False
        self._most = most
        self._waiting: deque[FleetUpdate] = deque()
        self._changed = threading.Condition()
        self._woken = False

    def put(self, update: FleetUpdate) -> None:
        """Add an update, unless there is no room: then nothing is added any more."""
        with self._changed:
            self.cut = self.cut or len(self._waiting) >= self._most
            if not self.cut:
                self._waiting.append(update)
            self._changed.notify()

    def wake(self) -> None:
        """Have whoever waits look around."""
        with self._changed:
            self._woken = True
            self._changed.notify()

    def get(self, seconds: float) -> FleetUpdate | None:
        """Return the next update; None when it is time to look around."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._woken or self.cut, seconds)
            self._woken = False
            return self._waiting.popleft() if self._waiting else None

    def clear(self) -> None:
        """Forget what waits: whoever does reads it elsewhere."""
        with self._changed:
            self._waiting.clear()
            self.cut = False
