"""Which updates were told already: at least once becomes exactly once, by their numbers."""

from collections.abc import Mapping

from worker.persistence.fleet import FleetUpdate, Key


class Seen:
    """The last number of each host and instance."""

    def __init__(self, last: Mapping[Key, int] | None = None) -> None:
        """Begin after those numbers."""
        self._last = dict(last or {})

    def note(self, update: FleetUpdate) -> bool:
        """Take an update; return whether it is new."""
        if update.sequence <= self._last.get(update.key, 0):
            return False
        self._last[update.key] = update.sequence
        return True

    def before(self, update: FleetUpdate) -> int | None:
        """Return the last number, if there is one and others lie between it and the update's."""
        last = self._last.get(update.key)
        return last if last is not None and update.sequence > last + 1 else None
