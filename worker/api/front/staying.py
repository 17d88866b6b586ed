"""A stream, for as long as its caller is let in: a token that was taken back ends it."""

import time
from collections.abc import Callable, Iterator

EVERY = 30.0
"""Seconds after which it is asked again; Keystone is asked, where its middleware has forgotten."""


class Staying(Iterator[bytes]):
    """Gives the stream's pieces until who hears them is not known any more, and ends then."""

    def __init__(
        self,
        stream: Iterator[bytes],
        known: Callable[[], bool],
        every: float = EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``known`` tells whether the caller still is who they were; asked ``every`` so often."""
        self._stream = stream
        self._known = known
        self._every = every
        self._clock = clock
        self._due = clock() + every

    def __next__(self) -> bytes:
        """Return what is sent next: at the latest what says that nothing is."""
        piece = next(self._stream)
        if self._clock() >= self._due:
            if not self._known():
                raise StopIteration
            self._due = self._clock() + self._every
        return piece

    def close(self) -> None:
        """Give the stream's place back."""
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()
