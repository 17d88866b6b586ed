"""Tell whether an exported instance could be taken in by this host."""

from dataclasses import dataclass
from typing import Any

from worker.errors import (
    DomainTaken,
    IdTaken,
    InstanceTaken,
    NotReleased,
    VolumeInUse,
)
from worker.handlers.parts.carried_aliases import with_aliases
from worker.handlers.parts.files_here import check_files
from worker.model.block_device import BlockDevice
from worker.model.instance import TaskState
from worker.model.moving.carried import Carried, read
from worker.model.peripheral import Peripheral
from worker.model.volume import VolumeStatus
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckImport:
    """Call: what an import would do; ``document`` is what an export has answered, as JSON.

    With ``force`` it may be of an instance that its host did not release: for one that is dead.
    """

    document: str
    force: bool = False


def check_import(request: CheckImport, ports: Ports) -> dict[str, Any]:
    """Raise what an import would be refused with; else return what would be taken in.

    RequestMalformed, InstanceTaken, NotReleased, DomainTaken, IdTaken, VolumeNotFound, VolumeInUse,
    and what is said of files (``check_files``).
    """
    carried = read(request.document, ports.host)
    _check_instance(carried, ports, force=request.force)
    _check_domain(carried, ports)
    for row in carried.rows:
        _check_row(row, ports)
    for peripheral in carried.peripherals:
        _check_peripheral(peripheral, ports)
    carried = with_aliases(carried, ports)
    return {
        "uuid": carried.instance.uuid,
        "name": carried.instance.name,
        "block_devices": [row.public() for row in carried.rows],
        "peripherals": [row.public() for row in carried.peripherals],
        "sources": check_files(carried, ports),
    }


def _check_instance(carried: Carried, ports: Ports, *, force: bool) -> None:
    """Where the database knows the instance its row decides, whatever the document says."""
    known = ports.moves.find(carried.instance.uuid)
    if known is not None and known.task_state != TaskState.RELEASED:
        message = f"instance {known.uuid} is on host {known.host}, which has not released it"
        raise InstanceTaken(message)
    if known is None and carried.release is None and not force:
        message = (
            f"the document does not say that instance {carried.instance.uuid} was released: release"
            " it on its host and export it again, or force the import if that host is dead"
        )
        raise NotReleased(message)


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


def _check_peripheral(row: Peripheral, ports: Ports) -> None:
    known = ports.peripherals.look(row.uuid)
    if known is not None and known.instance != row.instance:
        message = f"id {row.uuid} was used before"
        raise IdTaken(message)
