"""The tagged disks of an instance, as its user finds them in the guest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from worker.errors import DeviceAmbiguous
from worker.handlers.parts.find_device import guest_and_rescue, looked_up
from worker.model.block_device import BlockDevice
from worker.model.device_metadata import device_metadata, tagged
from worker.model.guest import Guest
from worker.model.identity.lookup import Doubt, Found, Why
from worker.model.ids import BlockDeviceId, InstanceId
from worker.model.places.address import Address
from worker.model.rescue.meanwhile import leaves_alone, rows_in
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class GetDeviceMetadata:
    """Call: type, bus, address, serial, path and tags of each tagged disk."""

    instance_uuid: InstanceId


def get_device_metadata(request: GetDeviceMetadata, ports: Ports) -> list[dict[str, Any]]:
    """Return the tagged disks, by the layout of the running guest.

    In rescue those that the guest has, where it has them.
    """
    uuid = ports.instances.get(request.instance_uuid).uuid
    rows, (guest, rescue) = ports.devices.of_instance(uuid), guest_and_rescue(uuid, ports)
    shown = {} if guest is None else _shown(rows, guest, ports)
    if rescue is None:
        return device_metadata(rows, shown)
    unmoved = {row.uuid for row in rows if leaves_alone(rescue, row.target)}
    return device_metadata(rows_in(rescue, rows), {row: shown[row] for row in unmoved & set(shown)})


def _shown(
    rows: Sequence[BlockDevice], guest: Guest, ports: Ports
) -> dict[BlockDeviceId, Address | None]:
    """Return where the guest has the disks; raises DeviceAmbiguous for one of another's alias."""
    found = {row.uuid: _look_up(row, guest, ports) for row in tagged(rows)}
    return {row: one.device.address for row, one in found.items() if isinstance(one, Found)}


def _look_up(row: BlockDevice, guest: Guest, ports: Ports) -> Found | Doubt | None:
    live, persistent = looked_up(row, guest, ports)
    found = persistent if guest.live is None else live
    if isinstance(found, Doubt) and found.why is Why.ELSEWHERE:
        raise DeviceAmbiguous(found.said)
    return found
