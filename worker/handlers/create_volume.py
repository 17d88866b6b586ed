"""Make a volume in the built-in pool."""

from worker.model.requests import CreateVolume
from worker.ports import Ports


def create_volume(request: CreateVolume, ports: Ports) -> None:
    """Make a volume of a size, or take a file as one, in place."""
    ports.pool.create(
        request.volume_id,
        size=request.size,
        path=request.path,
        name=request.name,
        multiattach=request.multiattach,
    )
