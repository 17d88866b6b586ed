"""The instances that there are: each with a root, an ephemeral, a swap and two volumes."""

from tests.fakes.world import FakeGuest
from worker.model.block_device import BlockDevice, Bus, DeviceStatus, SourceType
from worker.model.disk import Disk, disk_of
from worker.model.ids import BlockDeviceId, ImageId, InstanceId, VolumeId
from worker.model.instance import Instance, VmState
from worker.model.places.address import PciAddress
from worker.model.source import BlockSource, DiskFormat, DiskOptions, HostVolume
from worker.model.specification import LocalDisk, Specification

LOCAL = ("root", "ext4", "swap")
VOLUMES = 2
DISKS = len(LOCAL) + VOLUMES
GIB = 1 << 30


def instance(number: int) -> InstanceId:
    """Return the uuid of one of the guests that there are."""
    return InstanceId(f"00000000-0000-4000-8000-{number:012d}")


def record(number: int, host: str) -> Instance:
    """Return the instance's row, as its build wrote it."""
    return Instance(
        uuid=instance(number),
        host=host,
        name=f"guest-{number}",
        vm_state=VmState.ACTIVE,
        specification=Specification(
            vcpus=1,
            memory=512,
            image=ImageId("root"),
            disks=tuple(
                LocalDisk(uuid=_row(number, disk), size=GIB, format=DiskFormat.QCOW2)
                for disk in range(len(LOCAL))
            ),
        ),
    )


def rows(number: int) -> tuple[BlockDevice, ...]:
    """Return the rows of its disks."""
    return tuple(_device(number, disk) for disk in range(DISKS))


def guest(number: int) -> FakeGuest:
    """Return the guest, which runs and has all of these disks."""
    disks = {row.alias: _disk(row) for row in rows(number)}
    return FakeGuest(name=f"guest-{number}", live=dict(disks), persistent=dict(disks))


def _row(number: int, disk: int) -> BlockDeviceId:
    return BlockDeviceId(f"{number:08d}-0000-4000-a000-{disk:012d}")


def _device(number: int, disk: int) -> BlockDevice:
    uuid, local = _row(number, disk), disk < len(LOCAL)
    volume = None if local else VolumeId(f"{number:08d}-{disk:04d}-4000-9000-000000000000")
    return BlockDevice(
        uuid=uuid,
        instance=instance(number),
        volume=volume,
        device_name=f"/dev/vd{'abcde'[disk]}",
        bus=Bus.VIRTIO,
        alias=f"ua-{volume or uuid}",
        serial=volume or uuid,
        address=PciAddress(bus=disk + 1, slot=0),
        status=DeviceStatus.ATTACHED,
        source_type=_source(disk),
        image=ImageId("root") if disk == 0 else None,
        guest_format=LOCAL[disk] if local and disk else None,
        boot_index=0 if disk == 0 else None,
        tag=f"disk-{disk}" if disk else None,
    )


def _source(disk: int) -> SourceType:
    if disk >= len(LOCAL):
        return SourceType.VOLUME
    return SourceType.BLANK if disk else SourceType.IMAGE


def _disk(row: BlockDevice) -> Disk:
    source = BlockSource(path=f"/dev/disk/{row.uuid}")
    return disk_of(row, HostVolume(source=source, options=DiskOptions()))
