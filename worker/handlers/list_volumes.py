"""The volumes of the built-in pool."""

from typing import Any

from worker.model.requests import ListVolumes
from worker.ports import Ports


def list_volumes(_request: ListVolumes, ports: Ports) -> list[dict[str, Any]]:
    """Return every volume of the pool, by name and id."""
    return [volume.public() for volume in ports.pool.list()]
