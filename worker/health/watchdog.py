"""When the worker is beyond helping itself, and how the service manager learns of it.

It is ended and started again only for what a start mends. A broker, database or libvirt that is
away is waited for, and a start would change nothing.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from worker.health.notify import Notifier

LOG = logging.getLogger(__name__)

Judge = Callable[[], str | None]
"""Returns what only a start can mend, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What the judge goes by, at one moment.

    ``listening``: the connection to the broker claims health, and nothing that is away keeps the
    worker from taking messages. ``unheard``: for how many seconds a message sent to oneself has
    been on its way, with nothing else coming in. ``late``: threads in a step past its deadline.
    """

    listening: bool
    unheard: float
    threads: int
    late: int


class Judgement:
    """Goes by the signs; the bus is given ``patience`` seconds anew after each outage."""

    def __init__(self, signs: Callable[[], Signs], patience: Callable[[], float]) -> None:
        self._signs = signs
        self._patience = patience
        self._away = time.monotonic()

    def __call__(self) -> str | None:
        """Return what only a start can mend, or None."""
        signs, now = self._signs(), time.monotonic()
        if not signs.listening:
            self._away = now
        if signs.late >= signs.threads:
            return f"all {signs.threads} threads are in steps past their deadline"
        if min(signs.unheard, now - self._away) > self._patience():
            return f"a message sent to oneself did not come back in {signs.unheard:.0f} s"
        return None


class Watchdog:
    """Feeds the service manager's watchdog, twice as often as it asks, unless all is lost."""

    def __init__(self, notifier: Notifier, judge: Judge, status: str) -> None:
        """``status`` is what the manager is told again when a reason has gone."""
        self._notifier = notifier
        self._judge = judge
        self._status = status
        self._reason: str | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to feed, if there is a watchdog."""
        if self._notifier.watchdog is not None:
            self._thread.start()

    def stop(self) -> None:
        """Feed no more: the manager watches nobody who is stopping."""
        self._stopping.set()

    def _run(self) -> None:
        period = self._notifier.watchdog or 0.0
        while not self._stopping.wait(period / 2):
            self._look()

    def _look(self) -> None:
        reason = self._judge()
        if reason is None:
            self._notifier.alive()
        if reason is not None and self._reason is None:
            LOG.critical("watchdog not fed: reason=%s", reason)
            self._notifier.status(f"watchdog not fed: {reason}")
        if reason is None and self._reason is not None:
            LOG.info("watchdog fed again")
            self._notifier.status(self._status)
        self._reason = reason
