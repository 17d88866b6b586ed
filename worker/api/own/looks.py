"""A look at what the API needs, bounded and not too often, whoever asks however often."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from worker.health.probe import Part
from worker.model.operation import fault_of

LOG = logging.getLogger(__name__)

Seeing = Callable[[], Mapping[str, Any]]

PATIENCE = 2.0
"""Seconds after which a part that does not answer counts as away."""

FRESH = 1.0
"""Seconds for which a look is told again."""


class Look:
    """One part: looked at in a thread, which may hang; one at a time."""

    def __init__(self, name: str, look: Seeing, *, patience: float = PATIENCE) -> None:
        """``look`` returns facts, or raises what is wrong."""
        self.name = name
        self._look = look
        self._patience = patience
        self._lock = threading.Lock()
        self._done: threading.Event | None = None
        self._seen = (Part(ok=False, why="not looked at yet"), float("-inf"))

    def seen(self) -> Part:
        """Return what was seen a moment ago, or is seen now."""
        with self._lock:
            part, at = self._seen
            if time.monotonic() - at < FRESH:
                return part
            done = self._done or self._begin()
        if not done.wait(self._patience):
            return Part(ok=False, why=f"no answer within {self._patience:.0f} s")
        return self._seen[0]

    def _begin(self) -> threading.Event:
        done = self._done = threading.Event()
        threading.Thread(
            target=self._run, args=(done,), name=f"api-look-{self.name}", daemon=True
        ).start()
        return done

    def _run(self, done: threading.Event) -> None:
        begun = time.monotonic()
        try:
            facts = self._look()
            took = (time.monotonic() - begun) * 1000
            part = Part(ok=True, milliseconds=took, facts=facts)
        except Exception as error:  # noqa: BLE001 - whatever it is, the part is not well
            part = Part(ok=False, why=fault_of(error).message)
            LOG.warning("api part away: part=%s error=%s", self.name, part.why)
        with self._lock:
            self._seen, self._done = (part, time.monotonic()), None
        done.set()


class Looks:
    """All parts, looked at side by side."""

    def __init__(self, parts: Mapping[str, Seeing]) -> None:
        """Each part by its name; its look returns facts, or raises what is wrong."""
        self._looks = [Look(name, look) for name, look in parts.items()]

    def seen(self) -> dict[str, Part]:
        """Return how each part is; it takes no longer than the slowest may."""
        found: dict[str, Part] = {}
        asking = [
            threading.Thread(target=lambda look=each: found.update({look.name: look.seen()}))
            for each in self._looks
        ]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        return {each.name: found[each.name] for each in self._looks}
