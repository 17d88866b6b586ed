"""Make a volume in the built-in pool."""

from dataclasses import dataclass
from typing import TypedDict

from worker.errors import VolumeNotFound
from worker.model.ids import VolumeId
from worker.ports import Ports
from worker.undo import Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVolume:
    """Operation on the pool: a new volume of ``size`` bytes, or one that is ``path`` in place."""

    volume_id: VolumeId
    size: int | None = None
    path: str | None = None
    name: str = ""
    multiattach: bool = False


class _Wanted(TypedDict):
    size: int | None
    path: str | None
    name: str
    multiattach: bool


def create_volume(request: CreateVolume, ports: Ports) -> None:
    """Make a volume of a size, or take a file as one, in place."""
    wanted: _Wanted = {
        "size": request.size,
        "path": request.path,
        "name": request.name,
        "multiattach": request.multiattach,
    }
    if not ports.progress.reached("pool.create") and _exists(request, ports):
        ports.pool.confirm(request.volume_id, **wanted)
        return
    with Undo(ports.progress) as undo:
        undo.by(ports.pool.delete, request.volume_id)
        ports.pool.create(request.volume_id, **wanted)


def _exists(request: CreateVolume, ports: Ports) -> bool:
    """A volume that was there before the first run must not go with a failed request."""
    try:
        ports.volumes.show(request.volume_id)
    except VolumeNotFound:
        return False
    return True
