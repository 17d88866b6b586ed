"""How this host presents itself to a volume service."""

from dataclasses import dataclass
from typing import Any

from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class GetVolumeConnector:
    """Call: how this host presents itself to a volume service."""


def get_volume_connector(_request: GetVolumeConnector, ports: Ports) -> dict[str, Any]:
    """Return os-brick's connector properties, as read at start."""
    return dict(ports.connector.properties())
