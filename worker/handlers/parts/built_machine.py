"""The machine of an instance that is being built: what it starts with, and its way back."""

from collections.abc import Sequence

from worker.errors import DomainNotFound, HypervisorRefused
from worker.model.block_device import BlockDevice
from worker.model.build.machine import specification_of
from worker.model.instance import Instance
from worker.model.machine import Kernel
from worker.ports import Ports


def kernel_of(instance: Instance, ports: Ports) -> Kernel | None:
    """Return the kernel with which the guest is started, fetched if need be.

    None for a guest that boots from a disk.
    """
    kept = specification_of(instance)
    if kept.kernel is None:
        return None
    ramdisk = None if kept.ramdisk is None else ports.images.fetch(kept.ramdisk).path
    return Kernel(
        kernel=ports.images.fetch(kept.kernel).path,
        ramdisk=ramdisk,
        command_line=kept.command_line,
    )


def undefine_ours(instance: Instance, rows: Sequence[BlockDevice], ports: Ports) -> None:
    """Undefine the domain that bears our aliases.

    Another of the uuid was defined by other hands since the build was checked, and is theirs.
    """
    try:
        guest = ports.guests.describe(instance.uuid)
    except DomainNotFound:
        return
    borne = {disk.alias for layout in guest.layouts for disk in layout.disks}
    ours = [row.alias for row in rows if row.alias in borne]
    if ours and len(ours) == len(rows):
        ports.machines.undefine(instance.uuid)
    elif ours:
        message = f"domain {guest.name} bears only {', '.join(ours)} of the disks of its instance"
        raise HypervisorRefused(message)
