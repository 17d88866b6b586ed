"""The instances in this worker's care."""

from typing import Any

from worker.model.requests import ListInstances
from worker.ports import Ports


def list_instances(_request: ListInstances, ports: Ports) -> list[dict[str, Any]]:
    """Return the instances of this host, by name."""
    return [instance.public() for instance in ports.instances.list()]
