"""A host on which volumes leave things behind."""

from collections.abc import Sequence
from dataclasses import replace

from tests.fakes.world import World
from worker.errors import ConnectFailed
from worker.model.connection import Connection
from worker.model.leftover import Leftover, Part
from worker.ports import Leftovers


class FakeLeftovers(Leftovers):
    """A connection goes by its path, and by the ``target`` that it may name."""

    def __init__(self, world: World) -> None:
        self.world = world

    def list(self) -> tuple[Leftover, ...]:
        return tuple(self.world.leftovers.values())

    def marks(self, connections: Sequence[Connection]) -> tuple[frozenset[str], ...]:
        return tuple(_marks(connection) for connection in connections)

    def remove(self, leftover: Leftover) -> None:
        there = self.world.leftovers.get(leftover.key)
        if there is None or (there.about, there.marks) != (leftover.about, leftover.marks):
            return
        named = {part.name for part in leftover.parts}
        _check_unused(there, named)
        parts = tuple(part for part in there.parts if part.name not in named)
        if parts:
            self.world.leftovers[leftover.key] = replace(there, parts=parts)
        else:
            del self.world.leftovers[leftover.key]
            self._let_go(leftover.name)

    def _let_go(self, name: str) -> None:
        """What a map held is free when it is gone."""
        for key, thing in self.world.leftovers.items():
            parts = tuple(
                replace(part, held=tuple(over for over in part.held if over != name))
                for part in thing.parts
            )
            self.world.leftovers[key] = replace(thing, parts=parts)


def _check_unused(there: Leftover, named: set[str]) -> None:
    pieces: tuple[Leftover | Part, ...] = (
        there,
        *(part for part in there.parts if part.name in named),
    )
    used = next((piece.used for piece in pieces if piece.used is not None), None)
    if used is not None:
        message = f"{there.name} is in use: {used}"
        raise ConnectFailed(message)


def _marks(connection: Connection) -> frozenset[str]:
    said = (connection.properties.get("device_path"), connection.properties.get("target"))
    return frozenset(str(each) for each in said if each is not None)
