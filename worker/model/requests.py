"""What may be asked: one frozen dataclass a method, its fields the arguments by name.

``rpc/wire.py`` builds them from a message and refuses what does not fit; a field whose type is
one of the ids must hold a UUID. Both a call and an operation are described this way.
"""

from dataclasses import dataclass

from worker.model.ids import AttachmentId, BlockDeviceId, InstanceId, OperationId, VolumeId


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveBlockDeviceName:
    """Call: choose name, bus, unit and address for a volume, and keep them."""

    instance_uuid: InstanceId
    volume_id: VolumeId
    bdm_uuid: BlockDeviceId | None = None
    device: str | None = None
    disk_bus: str | None = None
    device_type: str | None = None
    tag: str | None = None
    multiattach: bool = False
    delete_on_termination: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseBlockDevice:
    """Call: give a reservation back."""

    bdm_uuid: BlockDeviceId


@dataclass(frozen=True, slots=True, kw_only=True)
class ListBlockDevices:
    """Call: the live block devices of an instance."""

    instance_uuid: InstanceId


@dataclass(frozen=True, slots=True, kw_only=True)
class GetBlockDevice:
    """Call: the live block device of a volume on an instance."""

    instance_uuid: InstanceId
    volume_id: VolumeId


@dataclass(frozen=True, slots=True, kw_only=True)
class GetVolumeConnector:
    """Call: how this host presents itself to a volume service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GetOperation:
    """Call: one operation of the journal, with its steps."""

    operation_id: OperationId


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOperations:
    """Call: operations of the journal, newest first."""

    instance_uuid: InstanceId | None = None
    state: str | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Call: is a worker there?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListInstances:
    """Call: the instances in this worker's care."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GetInstance:
    """Call: one instance."""

    instance_uuid: InstanceId


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptInstance:
    """Call: take a libvirt domain, named or by uuid, into this worker's care."""

    domain: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachVolume:
    """Operation: make a reserved volume visible in its instance."""

    instance_uuid: InstanceId
    bdm_uuid: BlockDeviceId
    attachment_id: AttachmentId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachVolume:
    """Operation: take a volume out of its instance."""

    instance_uuid: InstanceId
    volume_id: VolumeId
    bdm_uuid: BlockDeviceId | None = None
    attachment_id: AttachmentId | None = None
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncPowerState:
    """The worker's own operation: read what the guest is doing and keep it."""

    instance_uuid: InstanceId


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVolume:
    """Operation on the pool: a new volume of ``size`` bytes, or one that is ``path`` in place."""

    volume_id: VolumeId
    size: int | None = None
    path: str | None = None
    name: str = ""
    multiattach: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteVolume:
    """Operation on the pool: forget a volume; its file too, unless the pool did not make it."""

    volume_id: VolumeId


@dataclass(frozen=True, slots=True, kw_only=True)
class ListVolumes:
    """Call: the volumes of the pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GetVolume:
    """Call: one volume, from whichever service serves this worker."""

    volume_id: VolumeId


Request = (
    ReserveBlockDeviceName
    | ReleaseBlockDevice
    | ListBlockDevices
    | GetBlockDevice
    | GetVolumeConnector
    | GetOperation
    | ListOperations
    | Ping
    | ListInstances
    | GetInstance
    | AdoptInstance
    | AttachVolume
    | DetachVolume
    | SyncPowerState
    | CreateVolume
    | DeleteVolume
    | ListVolumes
    | GetVolume
)
