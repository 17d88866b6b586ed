"""What volumes left on this host."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from worker.model.connection import Connection
from worker.model.leftover import Leftover


class Leftovers(ABC):
    """The sessions, maps, controllers, mounts and exports of this host, whosever they are."""

    @abstractmethod
    def list(self) -> tuple[Leftover, ...]:
        """Return all that are there now, in use or not; needs no rights and no tools."""

    @abstractmethod
    def marks(self, connections: Sequence[Connection]) -> tuple[frozenset[str], ...]:
        """Return, for each connection, what it calls the things that it leads to.

        Nothing outside is asked.
        """

    @abstractmethod
    def remove(self, leftover: Leftover) -> None:
        """Take the thing, with those of its parts that are named, from this host.

        What is not there, or is another by now, is fine and is left alone, and so are parts that
        are not named: while there are any the thing stays. Raises ConnectFailed when it, or a
        part, is in use or does not go.
        """
