"""One hearing of the bus for all streams of a process, with the table of updates to fill holes.

The bus says at once what was told, but not while it is away; the table has all of it, but says
nothing by itself. So the bus is heard, and the table is read from the last mark on: whenever the
hearing began anew, again and again while the broker is away, and now and then in any case. The
numbers of each host and instance sort out what came twice, and show what is missing.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from worker.api.asked import Refused
from worker.api.streams.inbox import Inbox, Listening
from worker.api.streams.owners import Owners
from worker.api.streams.seen import Seen
from worker.errors import BrokerUnavailable, WorkerError
from worker.persistence.fleet import FleetUpdate, FleetUpdates, Key, Mark

LOG = logging.getLogger(__name__)


class Hearing(Protocol):
    """Updates off the bus; ``bindings`` is one more than there were outages."""

    @property
    def connected(self) -> bool:
        """Whether the broker is there."""

    @property
    def bindings(self) -> int:
        """How often it began to hear."""

    def wait(self, seconds: float) -> dict[str, Any] | None:
        """Return the next update, None if there is none in that time."""


Hear = Callable[[], AbstractContextManager[Hearing]]


class Hub:
    """Hears while somebody listens, and a while longer; shared by threads. Times in seconds.

    ``most`` streams may be open. The table is read every ``while_away`` while the broker is away,
    every ``anyway`` else.
    """

    look = 0.2
    while_away = 1.0
    anyway = 60.0
    linger = 30.0

    def __init__(self, hear: Hear, table: FleetUpdates, owners: Owners, *, most: int) -> None:
        """Nothing is heard before the first stream."""
        self.away = False
        self.stopping = threading.Event()
        self.most = most
        self._hear = hear
        self._table = table
        self._owners = owners
        self._lock = threading.Lock()
        self._inboxes: set[Inbox] = set()
        self._seen = Seen()
        self._mark = Mark(id=0, at=None)
        self._wanted = threading.Event()
        self._left = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="api-updates", daemon=True)

    @property
    def open_streams(self) -> int:
        """How many listen."""
        return len(self._inboxes)

    def open(self, listening: Listening) -> Inbox:
        """Return where all that is told from now on comes in; raises Refused (503) when full."""
        with self._lock:
            self._check_room()
            if not self._inboxes:
                self._mark = self._table.newest()
                self._seen = Seen(self._table.numbers(self._mark))
            if self._thread.ident is None:
                self._thread.start()
            inbox = Inbox(listening)
            self._inboxes.add(inbox)
        self._wanted.set()
        return inbox

    def leave(self, inbox: Inbox) -> None:
        """Forget a stream; one that has left is fine."""
        with self._lock:
            self._inboxes.discard(inbox)
            self._left = time.monotonic()

    def stop(self) -> None:
        """Have every stream end, and hear no more."""
        self.stopping.set()
        self._wanted.set()
        self._wake()
        if self._thread.ident is not None:
            self._thread.join(5.0)

    def _check_room(self) -> None:
        if self.stopping.is_set():
            raise Refused(503, "the API is being stopped; try again")
        if len(self._inboxes) >= self.most:
            message = f"all {self.most} streams of updates are in use; try again later"
            raise Refused(503, message)

    def _run(self) -> None:
        while not self.stopping.is_set():
            self._wanted.wait()
            try:
                self._follow()
            except BrokerUnavailable as error:
                self._say(away=True, why=error)
                self._go_on_alone()
            except WorkerError as error:
                LOG.warning("streams wait: error=%s", error)
                self.stopping.wait(self.while_away)
            except Exception:
                # A bug of ours; but streams that are told no more would be worse.
                LOG.exception("streams crashed")
                self.stopping.wait(self.while_away)

    def _go_on_alone(self) -> None:
        try:
            self._catch_up()
        except WorkerError as error:
            LOG.warning("streams wait: error=%s", error)
        self.stopping.wait(self.while_away)

    def _follow(self) -> None:
        with self._hear() as hearing:
            was, due = (0, False), 0.0
            while not self.stopping.is_set() and self._in_use():
                now = (hearing.bindings, hearing.connected)
                if now != was or time.monotonic() >= due:
                    self._catch_up()
                    was = now
                    due = time.monotonic() + (self.anyway if now[1] else self.while_away)
                self._say(away=not now[1])
                heard = hearing.wait(self.look)
                update = None if heard is None else _update_of(heard)
                if update is not None:
                    self._take(update)

    def _in_use(self) -> bool:
        with self._lock:
            used = bool(self._inboxes) or time.monotonic() - self._left < self.linger
            if not used:
                self._wanted.clear()
            return used

    def _catch_up(self) -> None:
        """Tell what the table has from the mark on."""
        with self._lock:
            if not self._inboxes:
                return
            mark = self._mark
        for update in self._table.since(mark):
            self._tell(update)
            if update.mark is not None and update.mark.id > self._mark.id:
                self._mark = update.mark

    def _take(self, update: FleetUpdate) -> None:
        missing = self._seen.before(update)
        if missing is not None and self._inboxes:
            for each in self._table.of(update.key, after=missing):
                self._tell(each)
        self._tell(update)

    def _tell(self, update: FleetUpdate) -> None:
        with self._lock:
            inboxes = tuple(self._inboxes)
        # Asked before it counts as seen: what the database does not answer now is told later.
        project_of = self._owners.project
        takers = [each for each in inboxes if each.listening.takes(update, project_of)]
        with self._lock:
            new = self._seen.note(update)
        for inbox in takers if new else ():
            inbox.put(update)

    def _say(self, *, away: bool, why: Exception | None = None) -> None:
        if away == self.away:
            return
        self.away = away
        LOG.log(
            logging.WARNING if away else logging.INFO,
            "streams: broker=%s error=%s",
            *("away" if away else "back", why or "-"),
        )
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            inboxes = tuple(self._inboxes)
        for inbox in inboxes:
            inbox.wake()


def _update_of(heard: dict[str, Any]) -> FleetUpdate | None:
    """Return it as the table would have it; None for what is none of ours."""
    match heard:
        case {
            "event_type": str(event),
            "payload": {
                "host": str(host),
                "instance_uuid": str() | None as instance,
                "sequence": int(sequence),
            } as payload,
        }:
            key = Key(host, instance or "")
            return FleetUpdate(key=key, sequence=sequence, event=event, payload=payload)
    return None
