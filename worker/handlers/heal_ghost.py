"""Take a disk out of QEMU that its hypervisor denies, because it died in mid-attach."""

from dataclasses import dataclass

from worker.errors import DatabaseUnavailable, GuestBusy, HypervisorRefused
from worker.handlers.parts.instance_here import check_changeable
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.identity.lookup import disk_by_alias
from worker.model.ids import InstanceId
from worker.model.update import Event, Update
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class HealGhost:
    """The worker's own operation: QEMU has a disk of ours that the hypervisor denies."""

    instance_uuid: InstanceId
    alias: str


def heal_ghost(request: HealGhost, ports: Ports) -> BlockDevice | None:
    """Tell the ghost, and remove it unless the guest is meant to have the disk.

    One whose row says attached is adopted: the guest keeps what it uses, a detach finds it in
    QEMU, and from the next cold start the hypervisor has it again.
    """
    check_changeable(ports.instances.get(request.instance_uuid), ports)
    row = ports.devices.bearing(request.instance_uuid, request.alias)
    if not ports.progress.reached("insides.remove"):
        if request.alias not in ghosts_of(request.instance_uuid, ports):
            return row
        ghost = Update(event=Event.GHOST, instance=request.instance_uuid, block_device=row)
        ports.updates.tell(ghost)
    if row is None or row.deleted or row.status is not DeviceStatus.ATTACHED:
        _remove(request, ports)
    return row


def _remove(request: HealGhost, ports: Ports) -> None:
    """A removal that broke off may have had its effect: it is made again, never called a failure.

    A guest that keeps the disk is another matter; the next look at it finds the ghost again.
    """
    try:
        ports.insides.remove(request.instance_uuid, request.alias)
    except (GuestBusy, HypervisorRefused, DatabaseUnavailable):
        raise
    except Exception:
        ports.progress.pass_commit_point()
        raise


def ghosts_of(instance: InstanceId, ports: Ports) -> tuple[str, ...]:
    """Return the aliases of ours that QEMU has and the hypervisor denies."""
    inner = ports.insides.disks(instance)
    if not inner:
        return ()
    live = ports.guests.describe(instance).live
    return tuple(disk.alias for disk in inner if disk_by_alias(live, disk.alias) is None)
