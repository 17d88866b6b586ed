"""A look that is taken now and then, in a thread of its own."""

import logging
import threading
from abc import ABC, abstractmethod

from worker.errors import Unavailable

LOG = logging.getLogger(__name__)


class Sweep(ABC):
    """Looks until it is stopped; a look that fails ends nothing."""

    def __init__(self, what: str) -> None:
        """``what`` is looked for, as the log names it."""
        self._what = what
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=what.replace(" ", "-"), daemon=True)

    @abstractmethod
    def look(self) -> None:
        """Have done what is to be done by now; raises Unavailable."""

    @abstractmethod
    def pause(self) -> float:
        """Return the seconds until the next look; asked after each."""

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.look()
            except Unavailable as error:
                LOG.warning("%s not looked at: error=%s", self._what, error)
            except Exception:
                LOG.exception("%s not looked at", self._what)
            self._stopping.wait(self.pause())
