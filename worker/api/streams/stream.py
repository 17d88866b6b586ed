"""A stream of updates to one client: bytes as they are to be sent, and when it ends."""

import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

from worker.api.asked import Who
from worker.api.own.shown import shown
from worker.api.streams import events
from worker.api.streams.events import Last
from worker.api.streams.hub import Hub
from worker.api.streams.inbox import Listening
from worker.api.streams.owners import Owners
from worker.api.streams.seen import Seen
from worker.api.unplaced import fit_for
from worker.errors import WorkerError
from worker.persistence.fleet import Fleet, FleetUpdate, FleetUpdates, Key, Told

HEARTBEAT = 15.0
"""Seconds after which something is sent, so that both ends learn when the other has gone."""

LOOK = 2.0
"""Seconds after which the journal is asked again: not every operation tells updates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What streams are made from; ``heartbeat`` in seconds."""

    hub: Hub
    fleet: Fleet
    table: FleetUpdates
    owners: Owners
    heartbeat: float = HEARTBEAT


class Stream(Iterator[bytes], ABC):
    """What is sent, piece by piece; whoever has it closes it, and its place is free again."""

    def __init__(self, source: Source, listening: Listening, who: Who) -> None:
        """Take a place; raises Refused (503)."""
        self._source = source
        self._hub = source.hub
        self._heartbeat = source.heartbeat
        self._who = who
        self._inbox = source.hub.open(listening)
        self._away = False
        self._pieces = self._guarded()

    def __next__(self) -> bytes:
        """Return what is sent next, however long it takes."""
        return next(self._pieces)

    def close(self) -> None:
        """Give the place back."""
        self._hub.leave(self._inbox)
        self._pieces.close()

    @abstractmethod
    def _body(self) -> Iterator[bytes]:
        """Yield what is sent after the beginning; nothing for a while is an empty piece."""

    def _guarded(self) -> Generator[bytes]:
        yield events.AGAIN
        sent = time.monotonic()
        try:
            for piece in self._body():
                if self._hub.stopping.is_set():
                    yield events.comment("the API is being stopped; ask again")
                    return
                quiet = time.monotonic() - sent >= self._heartbeat
                out = self._of_broker() + (piece or (events.comment("still here") * quiet))
                if out:
                    yield out
                    sent = time.monotonic()
        except WorkerError as error:
            yield events.comment(f"{error.code}; ask again, with Last-Event-ID")

    def _told(self, update: FleetUpdate) -> bytes:
        return events.told(replace(update, payload=fit_for(self._who, dict(update.payload))))

    def _of_broker(self) -> bytes:
        if self._hub.away == self._away:
            return b""
        self._away = self._hub.away
        if self._away:
            return events.comment("the message broker is away; updates come later, none is missed")
        return events.comment("the message broker is back")


class LiveStream(Stream):
    """Updates from now on or, with ``last``, all after that one; it ends when the client goes.

    Of the key that ``last`` names nothing comes twice; of others what is a minute older than it
    may have been sent before.
    """

    def __init__(self, source: Source, listening: Listening, who: Who, last: Last | None) -> None:
        """Take a place; raises Refused (503)."""
        super().__init__(source, listening, who)
        self._listening = listening
        self._last = last
        self._seen = Seen({} if last is None else {last.key: last.sequence})

    def _body(self) -> Iterator[bytes]:
        # The inbox was there before the table is read: what is in neither is not told yet.
        for update in self._missed():
            if self._seen.note(update):
                yield self._told(update)
        while not self._inbox.cut:
            came = self._inbox.get(self._heartbeat)
            new = came is not None and self._seen.note(came)
            yield self._told(came) if came is not None and new else b""
        yield events.comment("too slow; ask again, with Last-Event-ID")

    def _missed(self) -> Iterator[FleetUpdate]:
        if self._last is None:
            return
        mark = None
        if self._listening.project in (None, self._source.owners.project(self._last.key.instance)):
            mark = self._source.table.mark_of(self._last.key, self._last.sequence)
        since = self._source.table.since(
            mark, instance=self._listening.instance, project=self._listening.project
        )
        for update in since:
            if self._listening.takes(update, self._source.owners.project):
                yield update


class OperationStream(Stream):
    """The updates of one operation, from its first on, and then what it came to."""

    def __init__(self, source: Source, told: Told, who: Who, last: Last | None) -> None:
        """Take a place; raises Refused (503)."""
        super().__init__(source, Listening(project=None, operation=told.operation.id), who)
        self._id = told.operation.id
        self._accepted_at = told.operation.accepted_at
        self._key = Key(told.host, told.operation.instance or "")
        self._had = last.sequence if last is not None and last.key == self._key else 0

    def _body(self) -> Iterator[bytes]:
        if not self._had and self._accepted_at is not None:
            # An instance may have had a long life before the operation.
            self._had = self._source.table.last_before(self._key, self._accepted_at)
        while True:
            # Asked first: an operation's last update is written together with its end.
            found = self._source.fleet.operation(self._id)
            yield from self._new()
            if found is None or found.operation.state.ended:
                break
            yield b""
            self._wait()
        if found is not None:
            yield events.ended(shown(found, self._who))

    def _new(self) -> Iterator[bytes]:
        for update in self._source.table.of(self._key, after=self._had):
            self._had = update.sequence
            if update.payload.get("operation_id") == self._id:
                yield self._told(update)

    def _wait(self) -> None:
        """Wait until the bus speaks of the operation; what it says is read from the table."""
        self._inbox.get(min(LOOK, self._heartbeat))
        self._inbox.clear()
