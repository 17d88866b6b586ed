"""The instances in this worker's care."""

from dataclasses import dataclass
from typing import Any

from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class ListInstances:
    """Call: the instances in this worker's care."""


def list_instances(_request: ListInstances, ports: Ports) -> list[dict[str, Any]]:
    """Return the instances of this host, by name."""
    return [instance.public() for instance in ports.instances.list()]
