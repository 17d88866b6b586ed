"""The volumes of the built-in pool."""

from dataclasses import dataclass
from typing import Any

from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class ListVolumes:
    """Call: the volumes of the pool."""


def list_volumes(_request: ListVolumes, ports: Ports) -> list[dict[str, Any]]:
    """Return every volume of the pool, by name and id."""
    return [volume.public() for volume in ports.pool.list()]
