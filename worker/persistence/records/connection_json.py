"""A connection as it is stored: in the words that the table has always used, without secrets."""

from collections.abc import Mapping
from typing import Any

from worker.model.connection import Connection


def json_of(connection: Connection) -> dict[str, Any]:
    """Return what may be stored of a connection."""
    kept = connection.without_secrets()
    return {"driver_volume_type": kept.protocol, "data": dict(kept.properties)}


def connection_of(stored: Mapping[str, Any]) -> Connection:
    """Read it back."""
    return Connection(protocol=stored["driver_volume_type"], properties=stored["data"])
