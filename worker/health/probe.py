"""A look at one part of the world, again and again, in a thread that may hang."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from worker.model.operation import fault_of

BOUND = 2.0
"""Seconds after which a look that is not back counts as a part that does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What was seen of one part at the last look; ``why`` says what is wrong with it.

    ``milliseconds`` is what the look took, None where there was nothing to time. ``facts`` are
    numbers that say more.
    """

    ok: bool
    why: str | None = None
    milliseconds: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def public(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        told = None if self.milliseconds is None else round(self.milliseconds, 3)
        return {"ok": self.ok, "why": self.why, "milliseconds": told, **self.facts}


NOT_YET = Part(ok=False, why="not looked at yet")


class Probe:
    """Looks every so many seconds; whoever asks gets what was seen last, at once."""

    def __init__(
        self, name: str, look: Callable[[], Mapping[str, Any]], *, every: Callable[[], float]
    ) -> None:
        """``look`` returns facts, or raises what is wrong; ``every`` is asked before each wait."""
        self._look = look
        self._every = every
        self._seen = NOT_YET
        self._begun: float | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"health-{name}", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; one look may still hang."""
        self._stopping.set()

    @property
    def seen(self) -> Part:
        """What was seen last; a look that hangs is no good sign."""
        begun = self._begun
        hangs = 0.0 if begun is None else time.monotonic() - begun
        if hangs > BOUND:
            return Part(ok=False, why=f"no answer for {hangs:.0f} s", facts=self._seen.facts)
        return self._seen

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._begun = begun = time.monotonic()
            try:
                facts = self._look()
                took = (time.monotonic() - begun) * 1000
                self._seen = Part(ok=True, milliseconds=took, facts=facts)
            except Exception as error:  # noqa: BLE001 - whatever it is, the part is not well
                why = fault_of(error).message
                self._seen = Part(ok=False, why=why, facts=self._seen.facts)
            self._begun = None
            self._stopping.wait(self._every())
