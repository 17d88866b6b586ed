"""Tell whether an exported instance could be taken in by this host."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worker.errors import (
    DomainTaken,
    IdTaken,
    InstanceTaken,
    LocalDiskUnavailable,
    VolumeInUse,
)
from worker.model.block_device import BlockDevice
from worker.model.carried import RELEASED, Carried, read
from worker.model.source import DiskSource, HostVolume
from worker.model.volume import VolumeStatus
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckImport:
    """Call: what an import would do; ``document`` is what an export has answered, as JSON."""

    document: str


def check_import(request: CheckImport, ports: Ports) -> dict[str, Any]:
    """Raise what an import would be refused with; else return what would be taken in.

    RequestMalformed, InstanceTaken, DomainTaken, IdTaken, LocalDiskUnavailable when the file of a
    local disk is not on this host, VolumeNotFound, VolumeInUse.
    """
    carried = read(request.document, ports.host)
    _check_instance(carried, ports)
    _check_domain(carried, ports)
    for row in carried.rows:
        _check_row(row, ports)
    found = disk_sources(carried, ports)
    sources = {**carried.sources, **{alias: source.path for alias, source in found.items()}}
    return {
        "uuid": carried.instance.uuid,
        "name": carried.instance.name,
        "block_devices": [row.public() for row in carried.rows],
        "sources": sources,
    }


def disk_sources(carried: Carried, ports: Ports) -> Mapping[str, DiskSource]:
    """Return where local disks and config drive are here, unless where they were.

    Raises LocalDiskUnavailable for one that is in neither place.
    """
    found = {alias: _ours(alias, carried, ports) for alias in carried.sources}
    for alias, path in carried.sources.items():
        if found[alias] is None and not ports.host_files.exists(path):
            message = f"disk {alias} is not on this host: there is no {path}; copy it here first"
            raise LocalDiskUnavailable(message)
    return {alias: volume.source for alias, volume in found.items() if volume is not None}


def _ours(alias: str, carried: Carried, ports: Ports) -> HostVolume | None:
    """Return a disk that is where this worker keeps those that it has made."""
    instance = carried.instance
    if alias == f"ua-config-{instance.uuid}":
        return ports.config_drives.find(instance.uuid)
    row = next((row for row in carried.rows if row.alias == alias), None)
    if row is None or instance.specification is None:
        return None
    disk = instance.specification.disk(row.uuid)
    return None if disk is None else ports.local_disks.find(instance.uuid, disk)


def _check_instance(carried: Carried, ports: Ports) -> None:
    known = ports.moves.find(carried.instance.uuid)
    if known is not None and known.task_state != RELEASED:
        message = f"instance {known.uuid} is on host {known.host}, which has not released it"
        raise InstanceTaken(message)


def _check_domain(carried: Carried, ports: Ports) -> None:
    instance = carried.instance
    name = ports.definitions.taken(instance.uuid, instance.name)
    if name is not None:
        message = f"the hypervisor has a domain {name} already, of this name or uuid"
        raise DomainTaken(message)


def _check_row(row: BlockDevice, ports: Ports) -> None:
    known = ports.devices.look(row.uuid)
    if known is not None and (known.instance, known.volume) != (row.instance, row.volume):
        message = f"block device id {row.uuid} was used before"
        raise IdTaken(message)
    if row.local:
        return
    volume = ports.volumes.show(row.its_volume)
    held = ports.attachments.find(volume.id, row.instance) is not None
    if volume.status is not VolumeStatus.AVAILABLE and not volume.multiattach and not held:
        message = f"volume {volume.id} is {volume.status}, and not for instance {row.instance}"
        raise VolumeInUse(message)
