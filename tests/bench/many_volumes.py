"""A server with many volumes, as its rows say."""

from tests.bench import crowd
from worker.model.block_device import BlockDevice, Bus, DeviceStatus
from worker.model.connection import Connection
from worker.model.ids import AttachmentId, BlockDeviceId, InstanceId, VolumeId, new_uuid
from worker.model.instance import Instance, VmState
from worker.model.places.address import PciAddress
from worker.persistence.repositories import Repositories

VOLUMES = 100


def write_server_with_volumes(repositories: Repositories, host: str, number: int) -> InstanceId:
    """Write its rows, each connected as an attach over iSCSI leaves it."""
    server = crowd.instance(number)
    record = Instance(uuid=server, host=host, name="many", vm_state=VmState.ACTIVE)
    rows = [_row(server, disk) for disk in range(VOLUMES)]
    repositories.for_call().instances.insert(record, rows)
    return server


def _row(server: InstanceId, number: int) -> BlockDevice:
    volume = VolumeId(new_uuid())
    return BlockDevice(
        uuid=BlockDeviceId(new_uuid()),
        instance=server,
        volume=volume,
        device_name=f"/dev/vd{_letters(number)}",
        bus=Bus.VIRTIO,
        alias=f"ua-{volume}",
        serial=volume,
        address=PciAddress(bus=number + 1, slot=0),
        status=DeviceStatus.ATTACHED,
        attachment=AttachmentId(new_uuid()),
        connection=_connection(volume),
        volume_size=1,
        tag=f"disk-{number}",
    )


def _letters(number: int) -> str:
    first, last = divmod(number, 26)
    return (chr(ord("a") + first - 1) if first else "") + chr(ord("a") + last)


def _connection(volume: VolumeId) -> Connection:
    portals = ["192.0.2.10:3260", "192.0.2.11:3260"]
    return Connection(
        protocol="iscsi",
        properties={
            "target_discovered": False,
            "target_portals": portals,
            "target_iqns": [f"iqn.2010-10.org.openstack:{volume}"] * len(portals),
            "target_luns": [1] * len(portals),
            "volume_id": volume,
            "auth_method": "CHAP",
            "encrypted": False,
            "qos_specs": None,
            "access_mode": "rw",
            "device_path": f"/dev/disk/by-id/dm-uuid-mpath-{volume}",
        },
    )
