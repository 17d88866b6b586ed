"""A gate that many pass side by side, or one alone."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

LOG = logging.getLogger(__name__)


class Gate:
    """What has killed the worker before runs alone, so that no innocent work dies with it.

    Nobody waits longer than ``patience`` seconds for another: a call that hangs must not hold up
    the whole host.
    """

    def __init__(self, patience: float = 60.0) -> None:
        """Nobody is inside."""
        self._patience = patience
        self._changed = threading.Condition()
        self._inside = 0
        self._alone = 0

    @contextmanager
    def together(self) -> Iterator[None]:
        """Pass beside others; waits while one is alone, or about to be."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone, self._patience)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Pass when all others have left; ``name`` says in the log who does."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone, self._patience)
            self._alone += 1
            if self._inside:
                LOG.warning("waits to run alone: %s others=%d", name, self._inside)
            empty = self._changed.wait_for(lambda: self._inside == 0, self._patience)
        LOG.warning("runs alone: %s others_that_hang=%d", name, 0 if empty else self._inside)
        try:
            yield
        finally:
            with self._changed:
                self._alone -= 1
                self._changed.notify_all()
