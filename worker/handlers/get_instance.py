"""One instance."""

from typing import Any

from worker.model.requests import GetInstance
from worker.ports import Ports


def get_instance(request: GetInstance, ports: Ports) -> dict[str, Any]:
    """Return the instance."""
    return ports.instances.get(request.instance_uuid).public()
