"""What is not done yet on one host, as counts and ages."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Operations without an end, stuck ones, and updates that wait to be published.

    ``oldest_operation`` and ``oldest_update`` are when the oldest of them was accepted or written,
    in UTC; None without one. A stuck operation is not among the unfinished.
    """

    queued: int = 0
    running: int = 0
    stuck: int = 0
    oldest_operation: datetime | None = None
    updates: int = 0
    oldest_update: datetime | None = None

    @property
    def unfinished(self) -> int:
        """Operations that are queued or running."""
        return self.queued + self.running
