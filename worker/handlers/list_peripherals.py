"""The interfaces and host devices of an instance."""

from dataclasses import dataclass
from typing import Any

from worker.model.ids import InstanceId
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPeripherals:
    """Call: the live interfaces and host devices of an instance."""

    instance_uuid: InstanceId


def list_peripherals(request: ListPeripherals, ports: Ports) -> list[dict[str, Any]]:
    """Return the live interfaces and host devices of the instance, oldest first."""
    instance = ports.instances.get(request.instance_uuid)
    return [dict(row.public()) for row in ports.peripherals.of_instance(instance.uuid)]
