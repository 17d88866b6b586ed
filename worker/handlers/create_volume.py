"""Make a volume in the built-in pool."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from worker.errors import VolumeNotFound
from worker.model.ids import VolumeId
from worker.model.volume import NewVolume
from worker.ports import Ports
from worker.undo import Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVolume:
    """Operation on the pool: a new volume of ``size`` bytes, or one that is ``path`` in place.

    ``qos_specs`` are its limits, by QEMU's names for them. An ``encrypted`` one is LUKS:
    of a new one the pool makes header and key, a file that is taken has its own. Without a
    ``project_id`` it is an operator's, whom alone the REST API lets have it.
    """

    volume_id: VolumeId
    size: int | None = None
    path: str | None = None
    name: str = ""
    multiattach: bool = False
    encrypted: bool = False
    qos_specs: Mapping[str, str] = field(default_factory=dict)
    discard: bool = False
    logical_block_size: int | None = None
    physical_block_size: int | None = None
    project_id: str | None = None


def create_volume(request: CreateVolume, ports: Ports) -> None:
    """Make a volume of a size, or take a file as one, in place."""
    wanted = _wanted(request)
    if not ports.progress.reached("pool.create") and _exists(request, ports):
        ports.pool.confirm(wanted)
        return
    with Undo(ports.progress) as undo:
        undo.by(ports.pool.delete, request.volume_id)
        ports.pool.create(wanted)


def _wanted(request: CreateVolume) -> NewVolume:
    return NewVolume(
        id=request.volume_id,
        size=request.size,
        path=request.path,
        name=request.name,
        multiattach=request.multiattach,
        encrypted=request.encrypted,
        project_id=request.project_id,
        options=_options(request),
    )


def _options(request: CreateVolume) -> dict[str, Any]:
    """Return what is said of it, and no more: what is not said may be said of none later."""
    said = {
        "qos_specs": dict(request.qos_specs),
        "discard": request.discard,
        "logical_block_size": request.logical_block_size,
        "physical_block_size": request.physical_block_size,
    }
    return {name: value for name, value in said.items() if value}


def _exists(request: CreateVolume, ports: Ports) -> bool:
    """A volume that was there before the first run must not go with a failed request."""
    try:
        ports.volumes.show(request.volume_id)
    except VolumeNotFound:
        return False
    return True
