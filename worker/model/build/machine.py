"""From what is kept of an instance to the machine that the hypervisor is asked to keep.

Used once, when the instance is built; from then on the hypervisor's own persistent layout is
edited and never rendered anew (docs/adr/0017).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from worker.model.block_device import BlockDevice, DeviceType
from worker.model.build.shape import default_bus
from worker.model.disk import Disk, disk_of
from worker.model.guest import Guest
from worker.model.identity.alias import config_drive_alias
from worker.model.ids import BlockDeviceId, InstanceId
from worker.model.instance import Instance, VmState
from worker.model.machine import Kernel, Machine
from worker.model.peripheral import Peripheral
from worker.model.places.controllers import empty_layout
from worker.model.places.placement import place
from worker.model.source import DiskOptions, FileSource, HostVolume
from worker.model.specification import Specification

NOWHERE = HostVolume(source=FileSource(path="/nonexistent"), options=DiskOptions())
"""Where a disk is that is not made yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnHost:
    """Where on this host the parts of a machine are."""

    disks: Mapping[BlockDeviceId, HostVolume]
    config: HostVolume | None = None
    kernel: Kernel | None = None
    console: str | None = None


def machine_of(
    instance: Instance,
    rows: Sequence[BlockDevice],
    interfaces: Sequence[Peripheral],
    found: OnHost,
) -> Machine:
    """Join what was decided with where each part is; raises NoFreePort, TooManyDevices."""
    kept = specification_of(instance)
    disks = [disk_of(row, found.disks[row.uuid]) for row in rows]
    if found.config is not None:
        disks.append(config_disk(instance.uuid, kept, rows, found.config))
    return Machine(
        instance=instance.uuid,
        name=instance.name,
        vcpus=kept.vcpus,
        memory=kept.memory,
        shape=kept.shape,
        firmware=kept.firmware,
        disks=tuple(disks),
        interfaces=tuple(interfaces),
        kernel=found.kernel,
        console=found.console,
    )


def sketch_of(
    instance: Instance, rows: Sequence[BlockDevice], interfaces: Sequence[Peripheral]
) -> Machine:
    """Return the machine as it will be, its disks nowhere yet: enough to see whether it can be."""
    kept = specification_of(instance)
    nowhere = OnHost(
        disks={row.uuid: NOWHERE for row in rows},
        config=NOWHERE if kept.config_drive else None,
        kernel=None if kept.kernel is None else Kernel(kernel=NOWHERE.source.name),
    )
    return machine_of(instance, rows, interfaces, nowhere)


def specification_of(instance: Instance) -> Specification:
    """Return what the instance is made of; for one that this worker builds or built."""
    if instance.specification is None:
        message = f"instance {instance.uuid} was adopted"
        raise AssertionError(message)
    return instance.specification


def config_disk(
    instance: InstanceId,
    specification: Specification,
    rows: Sequence[BlockDevice],
    volume: HostVolume,
) -> Disk:
    """Return the config drive: a CD in the first place that the rows leave."""
    shape = specification.shape
    bus = default_bus(DeviceType.CDROM, specification.image_properties, shape)
    guest = Guest(
        instance=instance,
        name="",
        vm_state=VmState.STOPPED,
        live=None,
        persistent=empty_layout(shape, len(specification.interfaces)),
    )
    spot = place(guest, rows, bus, None, -1)
    return Disk(
        alias=config_drive_alias(instance),
        target=spot.device_name.removeprefix("/dev/"),
        bus=bus,
        device_type=DeviceType.CDROM,
        serial=None,
        address=spot.address,
        source=volume.source,
        options=replace(volume.options, read_only=True),
    )
