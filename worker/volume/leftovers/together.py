"""What is on this host, and what the pool exports from it, as one."""

from collections.abc import Sequence
from typing import Protocol

from worker.model.connection import Connection
from worker.model.leftover import Leftover, LeftoverKind
from worker.ports import Leftovers


class Exported(Protocol):
    """What exports volumes from this host, seen as what it exports."""

    def leftovers(self) -> tuple[Leftover, ...]:
        """Return every export, in use or not; raises VolumeServiceUnavailable."""

    def remove(self, leftover: Leftover) -> None:
        """Withdraw the export; one that is gone is fine. Raises ConnectFailed for one in use."""


class WithExports(Leftovers):
    """Things of the host, and exports; a connection calls both by the same marks."""

    def __init__(self, host: Leftovers, exports: Exported) -> None:
        self._host = host
        self._exports = exports

    def list(self) -> tuple[Leftover, ...]:
        """Return all of both, exports last: who is logged in goes first."""
        return (*self._host.list(), *self._exports.leftovers())

    def marks(self, connections: Sequence[Connection]) -> tuple[frozenset[str], ...]:
        """Return what the connections call things."""
        return self._host.marks(connections)

    def remove(self, leftover: Leftover) -> None:
        """Take it from where it is."""
        if leftover.kind is LeftoverKind.EXPORT:
            self._exports.remove(leftover)
        else:
            self._host.remove(leftover)
