"""The tagged disks of an instance, as its user finds them in the guest."""

from dataclasses import dataclass
from typing import Any

from worker.errors import DomainNotFound
from worker.model.device_metadata import device_metadata
from worker.model.guest import Guest
from worker.model.ids import InstanceId
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class GetDeviceMetadata:
    """Call: type, bus, address, serial, path and tags of each tagged disk."""

    instance_uuid: InstanceId


def get_device_metadata(request: GetDeviceMetadata, ports: Ports) -> list[dict[str, Any]]:
    """Return the tagged disks, by the layout of the running guest."""
    instance = ports.instances.get(request.instance_uuid)
    rows = ports.devices.of_instance(instance.uuid)
    return device_metadata(rows, _guest(instance.uuid, ports))


def _guest(instance: InstanceId, ports: Ports) -> Guest | None:
    """An instance whose domain is not there yet, or no more, has its rows."""
    try:
        return ports.guests.describe(instance)
    except DomainNotFound:
        return None
