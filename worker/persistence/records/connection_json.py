"""A connection as it is stored: in the words that the table has always used, without secrets."""

from collections.abc import Mapping
from typing import Any

from worker.model.connection import Connection
from worker.model.swap import Swap


def json_of(connection: Connection) -> dict[str, Any]:
    """Return what may be stored of a connection."""
    kept = connection.without_secrets()
    return {"driver_volume_type": kept.protocol, "data": dict(kept.properties)}


def connection_of(stored: Mapping[str, Any]) -> Connection:
    """Read it back."""
    return Connection(protocol=stored["driver_volume_type"], properties=stored["data"])


def json_of_swap(swap: Swap) -> dict[str, Any]:
    """Return what is stored of the other side of a swap."""
    return {
        "uuid": swap.uuid,
        "volume_id": swap.volume,
        "attachment_id": swap.attachment,
        "connection": None if swap.connection is None else json_of(swap.connection),
        "wwid": swap.wwid,
    }


def swap_of(stored: Mapping[str, Any]) -> Swap:
    """Read it back."""
    connection = stored["connection"]
    return Swap(
        uuid=stored["uuid"],
        volume=stored["volume_id"],
        attachment=stored["attachment_id"],
        connection=None if connection is None else connection_of(connection),
        wwid=stored["wwid"],
    )
