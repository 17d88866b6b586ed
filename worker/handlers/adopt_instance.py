"""Take a libvirt domain that exists into this worker's care."""

from dataclasses import dataclass
from typing import Any

from worker.model.instance import Instance
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptInstance:
    """Call: take a libvirt domain, named or by uuid, into this worker's care."""

    domain: str


def adopt_instance(request: AdoptInstance, ports: Ports) -> dict[str, Any]:
    """Make the instance's row from the domain's uuid, name and state; change nothing in it."""
    guest = ports.guests.find(request.domain)
    instance = Instance(
        uuid=guest.instance, host=ports.host, name=guest.name, vm_state=guest.vm_state
    )
    ports.instances.insert(instance)
    return instance.public()
