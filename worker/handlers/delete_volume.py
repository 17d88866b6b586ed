"""Delete a volume of the built-in pool."""

from dataclasses import dataclass

from worker.errors import DatabaseUnavailable, VolumeInUse, VolumeNotFound
from worker.model.ids import VolumeId
from worker.model.volume import VolumeStatus
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteVolume:
    """Operation on the pool: forget a volume; its file too, unless the pool did not make it."""

    volume_id: VolumeId


def delete_volume(request: DeleteVolume, ports: Ports) -> None:
    """Forget the volume, its file too if the pool made it; one that is gone is a success.

    Once the pool has not refused there is no way back: the deletion is the commit point.
    """
    if not ports.progress.reached("pool.delete") and not _is_there(request, ports):
        return
    try:
        ports.pool.delete(request.volume_id)
    except (VolumeInUse, DatabaseUnavailable):
        raise
    except Exception:
        ports.progress.pass_commit_point()
        raise


def _is_there(request: DeleteVolume, ports: Ports) -> bool:
    """Tell whether there is something to delete; raises VolumeInUse when it may not be."""
    try:
        volume = ports.volumes.show(request.volume_id)
    except VolumeNotFound:
        return False
    if volume.status not in (VolumeStatus.AVAILABLE, VolumeStatus.ERROR):
        message = f"volume {volume.id} is {volume.status}; detach it first"
        raise VolumeInUse(message)
    return True
