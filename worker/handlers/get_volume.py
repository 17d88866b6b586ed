"""One volume, from whichever service serves this worker."""

from typing import Any

from worker.model.requests import GetVolume
from worker.ports import Ports


def get_volume(request: GetVolume, ports: Ports) -> dict[str, Any]:
    """Return the volume as its service shows it now."""
    return ports.volumes.show(request.volume_id).public()
