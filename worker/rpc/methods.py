"""The whole interface as one table: every method, its request, and the handler that serves it.

A new method is a file in ``handlers/``, a request in ``model/requests.py``, and a line here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from worker.handlers.adopt_instance import adopt_instance
from worker.handlers.attach_volume import attach_volume
from worker.handlers.create_volume import create_volume
from worker.handlers.delete_volume import delete_volume
from worker.handlers.detach_volume import detach_volume, name_the_row
from worker.handlers.get_block_device import get_block_device
from worker.handlers.get_instance import get_instance
from worker.handlers.get_operation import get_operation
from worker.handlers.get_volume import get_volume
from worker.handlers.get_volume_connector import get_volume_connector
from worker.handlers.list_block_devices import list_block_devices
from worker.handlers.list_instances import list_instances
from worker.handlers.list_operations import list_operations
from worker.handlers.list_volumes import list_volumes
from worker.handlers.ping import ping
from worker.handlers.release_block_device import release_block_device
from worker.handlers.reserve_block_device_name import reserve_block_device_name
from worker.handlers.sync_power_state import sync_power_state
from worker.model import requests
from worker.model.update import ATTACH_PHASES, DETACH_PHASES
from worker.ports import Ports
from worker.runner import Kind

VERSION = "1.0"
"""The RPC version spoken; a message may ask for any 1.x up to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A method that answers at once; its handler returns plain JSON."""

    request: type[Any]
    handler: Callable[[Any, Ports], Any]


CALLS: Mapping[str, Call] = {
    "reserve_block_device_name": Call(
        request=requests.ReserveBlockDeviceName, handler=reserve_block_device_name
    ),
    "release_block_device": Call(request=requests.ReleaseBlockDevice, handler=release_block_device),
    "list_block_devices": Call(request=requests.ListBlockDevices, handler=list_block_devices),
    "get_block_device": Call(request=requests.GetBlockDevice, handler=get_block_device),
    "get_volume_connector": Call(request=requests.GetVolumeConnector, handler=get_volume_connector),
    "get_operation": Call(request=requests.GetOperation, handler=get_operation),
    "list_operations": Call(request=requests.ListOperations, handler=list_operations),
    "list_instances": Call(request=requests.ListInstances, handler=list_instances),
    "get_instance": Call(request=requests.GetInstance, handler=get_instance),
    "adopt_instance": Call(request=requests.AdoptInstance, handler=adopt_instance),
    "list_volumes": Call(request=requests.ListVolumes, handler=list_volumes),
    "get_volume": Call(request=requests.GetVolume, handler=get_volume),
    "ping": Call(request=requests.Ping, handler=ping),
}

OPERATIONS: Mapping[str, Kind] = {
    "attach_volume": Kind(
        request=requests.AttachVolume, handler=attach_volume, phases=ATTACH_PHASES
    ),
    "detach_volume": Kind(
        request=requests.DetachVolume,
        handler=detach_volume,
        phases=DETACH_PHASES,
        pin=name_the_row,
    ),
    "create_volume": Kind(request=requests.CreateVolume, handler=create_volume),
    "delete_volume": Kind(request=requests.DeleteVolume, handler=delete_volume),
    "sync_power_state": Kind(
        request=requests.SyncPowerState, handler=sync_power_state, own_only=True
    ),
}
