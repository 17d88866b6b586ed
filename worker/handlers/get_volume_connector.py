"""How this host presents itself to a volume service."""

from typing import Any

from worker.model.requests import GetVolumeConnector
from worker.ports import Ports


def get_volume_connector(_request: GetVolumeConnector, ports: Ports) -> dict[str, Any]:
    """Return os-brick's connector properties, as read at start."""
    return dict(ports.connector.properties())
