"""One instance."""

from dataclasses import dataclass
from typing import Any

from worker.model.ids import InstanceId
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class GetInstance:
    """Call: one instance."""

    instance_uuid: InstanceId


def get_instance(request: GetInstance, ports: Ports) -> dict[str, Any]:
    """Return the instance."""
    return ports.instances.get(request.instance_uuid).public()
