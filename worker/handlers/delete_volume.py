"""Delete a volume of the built-in pool."""

from worker.model.requests import DeleteVolume
from worker.ports import Ports


def delete_volume(request: DeleteVolume, ports: Ports) -> None:
    """Forget the volume, its file too if the pool made it; refused while it is attached."""
    ports.pool.delete(request.volume_id)
