"""One volume, from whichever service serves this worker."""

from dataclasses import dataclass
from typing import Any

from worker.model.ids import VolumeId
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class GetVolume:
    """Call: one volume, from whichever service serves this worker."""

    volume_id: VolumeId


def get_volume(request: GetVolume, ports: Ports) -> dict[str, Any]:
    """Return the volume as its service shows it now."""
    return ports.volumes.show(request.volume_id).public()
