"""Every way an operation can end badly.

The five families say what the caller does next; ``code`` is what travels on the bus, so class
names may change and codes may not. ``docs/errors.md`` has a line for each code.
"""

import math
from typing import ClassVar

NEVER = math.inf
"""When to ask again what does not come back by itself."""


class WorkerError(Exception):
    """Base of all errors a request can end with; the message is fit for the caller's eyes."""

    code: ClassVar[str] = "internal"


def told(error: Exception) -> str:
    """Return what may be said of an error outside the log: a sentence of ours, or none of it."""
    return str(error) if isinstance(error, WorkerError) else "the worker failed; its log says more"


class Stopped(BaseException):
    """The worker stops: an operation that waits between two tries is left to the next one.

    Nothing is to be done about it, nor taken back: it passes by whatever deals with errors.
    """


class Invalid(WorkerError):
    """The request is wrong: mend it. Nothing was touched."""

    code = "invalid"


class NotFound(WorkerError):
    """The thing named does not exist. Nothing was touched."""

    code = "not_found"


class Conflict(WorkerError):
    """The world is not as the caller assumed: read again."""

    code = "conflict"


class Unavailable(WorkerError):
    """Something the worker needs did not answer: try later, nothing changed."""

    code = "unavailable"


class LeftBehind(WorkerError):
    """A failure could not be taken back whole: an operator looks."""

    code = "operation.left_behind"


class RequestMalformed(Invalid):
    """An argument is missing, unknown, or of the wrong type."""

    code = "request.malformed"


class MethodUnknown(Invalid):
    """No method of that name."""

    code = "request.method_unknown"


class VersionUnsupported(Invalid):
    """The RPC version asked for is newer than this worker speaks."""

    code = "request.version_unsupported"


class BusUnsupported(Invalid):
    """The bus does not exist, or the guest has no controller for it."""

    code = "block_device.bus_unsupported"


class DeviceTypeUnsupported(Invalid):
    """The device type cannot be attached, or not on that bus, or not of that volume."""

    code = "block_device.type_unsupported"


class DeviceNameMalformed(Invalid):
    """The device name is no name of a disk, or does not fit the bus."""

    code = "block_device.name_malformed"


class NoVolume(Invalid):
    """What is asked can be done to a volume only, and the block device is a local disk."""

    code = "block_device.no_volume"


class SpecificationInvalid(Invalid):
    """An instance cannot be built as it was asked for."""

    code = "instance.invalid"


class MachineUnsupported(Invalid):
    """The hypervisor has no machine of that type, firmware or device."""

    code = "instance.machine_unsupported"


class ImageRefused(Invalid):
    """The image's content is not what it says, or could reach beyond itself."""

    code = "image.refused"


class ImageNotFound(NotFound):
    """There is no such image."""

    code = "image.not_found"


class TagTaken(Conflict):
    """Another disk of the instance bears the tag."""

    code = "block_device.tag_taken"


class InstanceWrongState(Conflict):
    """The instance is not in a state in which this can be done."""

    code = "instance.wrong_state"


class InstanceRescued(Conflict):
    """The instance is in rescue, which this is not to be done in."""

    code = "instance.rescued"


class NotRescuable(Conflict):
    """The instance cannot be rescued as it is, or not by that image."""

    code = "instance.not_rescuable"


class DomainTaken(Conflict):
    """The hypervisor has a domain of that name or uuid, and it is not ours."""

    code = "domain.taken"


class NotReleased(Conflict):
    """The document is of an instance that its host may still have."""

    code = "instance.not_released"


class StateKept(Conflict):
    """The hypervisor keeps more of the machine than can be carried to another host."""

    code = "instance.state_kept"


class BaseUnavailable(Conflict):
    """What a disk is made over, or a guest started with, is not to be had here as it was."""

    code = "local_disk.base_unavailable"


class NoRoom(Unavailable):
    """The host has no room for the disk."""

    code = "host.no_room"


class DiskFailed(Unavailable):
    """A file of a local disk, config drive or image could not be made, read or removed."""

    code = "host.disk_failed"


class LocalDiskUnavailable(Unavailable):
    """The file of a local disk is not where the host keeps it."""

    code = "local_disk.unavailable"


class ImagesUnavailable(Unavailable):
    """The image service does not answer, or failed."""

    code = "image_service.unavailable"


class GuestStays(Unavailable):
    """The guest did not power off in time when it was asked to."""

    code = "instance.stays"


class VolumeFileUnusable(Invalid):
    """A file given as a volume is missing, unreadable, empty or no raw image."""

    code = "volume.file_unusable"


class VolumeWouldShrink(Invalid):
    """The volume is larger than what is asked, and nothing makes one smaller."""

    code = "volume.would_shrink"


class VolumeTooSmall(Invalid):
    """The volume has less room than the one whose place it is to take."""

    code = "volume.too_small"


class ProtocolUnsupported(Invalid):
    """The volume service answered with a protocol that this worker cannot connect."""

    code = "volume.protocol_unsupported"


class EncryptionUnsupported(Invalid):
    """A volume is encrypted in a way that this host cannot open."""

    code = "volume.encryption_unsupported"


class KeyNotFound(NotFound):
    """The key manager has no such key, or none that may be used."""

    code = "key.not_found"


class KeysUnavailable(Unavailable):
    """The key manager did not answer, or its answer cannot be used."""

    code = "key_manager.unavailable"


class InstanceNotFound(NotFound):
    """No such instance on this host."""

    code = "instance.not_found"


class DomainNotFound(NotFound):
    """libvirt knows no such domain."""

    code = "domain.not_found"


class BlockDeviceNotFound(NotFound):
    """No such block device."""

    code = "block_device.not_found"


class PeripheralNotFound(NotFound):
    """The instance has no such interface or host device."""

    code = "peripheral.not_found"


class VolumeNotFound(NotFound):
    """The volume service knows no such volume."""

    code = "volume.not_found"


class AttachmentNotFound(NotFound):
    """The volume service knows no such attachment."""

    code = "attachment.not_found"


class OperationNotFound(NotFound):
    """No operation of that id in the journal."""

    code = "operation.not_found"


class DeadLetterNotFound(NotFound):
    """No such dead letter in this host's queue."""

    code = "dead_letter.not_found"


class DeviceNameTaken(Conflict):
    """Another disk of the instance has the device name."""

    code = "block_device.name_taken"


class AddressTaken(Conflict):
    """Another device of the instance has the address or unit."""

    code = "block_device.address_taken"


class VolumeAlreadyAttached(Conflict):
    """The instance has a live block device for the volume."""

    code = "volume.already_attached"


class IdTaken(Conflict):
    """The id was given to something else before; ids are never used again."""

    code = "block_device.id_taken"


class PeripheralTaken(Conflict):
    """The instance has the port already, or an instance of this host has the host device."""

    code = "peripheral.taken"


class TooManyDevices(Conflict):
    """The bus or the instance has as many disks as it may have."""

    code = "block_device.limit_reached"


class NoFreePort(Conflict):
    """No free PCIe port, slot or unit is left for the disk."""

    code = "block_device.no_free_port"


class DeviceWrongState(Conflict):
    """The block device is not in a state that allows the request."""

    code = "block_device.wrong_state"


class DeviceSuperseded(Conflict):
    """The request means an older attachment of a volume that was attached anew."""

    code = "block_device.superseded"


class DeviceAmbiguous(Conflict):
    """The facts about a device contradict each other, or fit two devices."""

    code = "block_device.ambiguous"


class InstanceTaken(Conflict):
    """The instance is in the care of this host's worker already, or of another's."""

    code = "instance.taken"


class VolumeInUse(Conflict):
    """The volume is in use, or not in a state that allows the request."""

    code = "volume.in_use"


class NotLuks(Conflict):
    """A volume that is said to be encrypted has no header of LUKS."""

    code = "volume.not_luks"


class VolumeNotGrown(Conflict):
    """The volume service has the volume smaller than what its guest is to see."""

    code = "volume.not_grown"


class VolumeServiceRefused(Conflict):
    """The volume service refused the request; the message is its own."""

    code = "volume_service.refused"


class VolumeTaken(Conflict):
    """A volume of that id or file exists."""

    code = "volume.taken"


class AttachmentMismatch(Conflict):
    """The attachment belongs to another volume or instance."""

    code = "attachment.mismatch"


class WrongDevice(Conflict):
    """What was connected is not the volume: its size or identity differs."""

    code = "volume.wrong_device"


class OperationConflict(Conflict):
    """The operation id was used before, for something else."""

    code = "operation.conflict"


class OperationBlocked(Conflict):
    """A stuck operation holds the device or instance until an operator ends it."""

    code = "operation.blocked"


class OperationWrongState(Conflict):
    """The operation is not in a state that allows the request."""

    code = "operation.wrong_state"


class OperationCancelled(Conflict):
    """A caller has asked for the end of the operation; it was taken back."""

    code = "operation.cancelled"


class SecretLost(LeftBehind):
    """A secret argument can no longer be read: the host's key file is another one."""

    code = "operation.secret_lost"


class OperationExpired(Unavailable):
    """The operation had expired before its first step."""

    code = "operation.expired"


class GuestBusy(Unavailable):
    """The guest did not let go of the device; it keeps it."""

    code = "block_device.guest_busy"


class HypervisorUnavailable(Unavailable):
    """libvirt does not answer."""

    code = "hypervisor.unavailable"


class HypervisorRefused(Unavailable):
    """libvirt or QEMU refused the change; the message is theirs."""

    code = "hypervisor.refused"


class DatabaseUnavailable(Unavailable):
    """The database does not answer."""

    code = "database.unavailable"


class BrokerUnavailable(Unavailable):
    """The message broker does not answer."""

    code = "broker.unavailable"


class VolumeServiceUnavailable(Unavailable):
    """The volume service does not answer, or failed."""

    code = "volume_service.unavailable"

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        """``retry_after`` is how many seconds it asked to be spared, if it did; it may be NEVER."""
        super().__init__(message)
        self.retry_after = retry_after


class VolumeServiceForbids(VolumeServiceUnavailable):
    """The volume service does not let the worker do this: its account lacks a right or token."""

    code = "volume_service.forbidden"

    def __init__(self, message: str) -> None:
        """Only an operator mends it."""
        super().__init__(message, retry_after=NEVER)


class VolumeServiceUnsuitable(VolumeServiceUnavailable):
    """What answers is no volume service that the worker can use."""

    code = "volume_service.unsuitable"

    def __init__(self, message: str) -> None:
        """Only an operator mends it."""
        super().__init__(message, retry_after=NEVER)


class ConnectFailed(Unavailable):
    """The volume could not be connected to this host, or not disconnected."""

    code = "connector.failed"


class VolumeBusy(Unavailable):
    """Another operation of this host connects or disconnects the volume, and does not end."""

    code = "volume.busy"


class WorkerUnreachable(Unavailable):
    """No worker listens on that host."""

    code = "worker.unreachable"


class NoAnswer(Unavailable):
    """The worker is there, but its answer did not come in time: it may have happened."""

    code = "worker.no_answer"


class WorkerBusy(Unavailable):
    """Another worker holds this host or state folder."""

    code = "worker.lease_held"
