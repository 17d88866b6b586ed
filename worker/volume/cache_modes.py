"""Cache modes as an operator wants them, whatever the protocol asks for."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, assert_never

from worker.model.connection import Connection
from worker.model.source import (
    BlockSource,
    DiskSource,
    FileSource,
    HostVolume,
    IscsiSource,
    RbdSource,
    Seen,
)
from worker.ports import Connector

SHAPES = frozenset({"block", "file", "network"})
MODES = frozenset({"default", "none", "writethrough", "writeback", "directsync", "unsafe"})
"""What libvirt knows, of sources and of caches."""


class CacheModes(Connector):
    """Another connector, whose volumes are cached by ``modes``, from a source's shape to a mode."""

    def __init__(self, behind: Connector, modes: Mapping[str, str]) -> None:
        self._behind = behind
        self._modes = modes

    def properties(self) -> Mapping[str, Any]:
        """Return what the other does; raises what that does, as do all below."""
        return self._behind.properties()

    def connect(self, connection: Connection) -> HostVolume:
        """Connect, and have the volume cached as is wanted."""
        return self._cached(self._behind.connect(connection))

    def find(self, connection: Connection) -> HostVolume | None:
        """Find as ``connect`` answers."""
        found = self._behind.find(connection)
        return None if found is None else self._cached(found)

    def examine(self, volume: HostVolume) -> Seen:
        """Examine."""
        return self._behind.examine(volume)

    def extend(self, connection: Connection) -> int:
        """Extend."""
        return self._behind.extend(connection)

    def disconnect(self, connection: Connection, *, force: bool = False) -> None:
        """Disconnect."""
        self._behind.disconnect(connection, force=force)

    def _cached(self, volume: HostVolume) -> HostVolume:
        mode = self._modes.get(_shape(volume.source), volume.options.cache)
        return replace(volume, options=replace(volume.options, cache=mode))


def _shape(source: DiskSource) -> str:
    match source:
        case BlockSource():
            return "block"
        case FileSource():
            return "file"
        case IscsiSource() | RbdSource():
            return "network"
        case _:
            assert_never(source)
