"""Time."""

from abc import ABC, abstractmethod
from datetime import datetime


class Clock(ABC):
    """Time, so that tests need not wait."""

    @abstractmethod
    def now(self) -> datetime:
        """Return the time in UTC, with its zone."""
