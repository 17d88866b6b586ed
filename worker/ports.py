"""What the core needs of the world, and nothing more.

Adapters and the tests' fakes subclass these. Every method that changes something outside looks
before it acts: called again after it has happened, it does nothing and answers the same. What
undoes accepts that there is nothing to undo. Errors are those of ``worker.errors``.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.connection import Connection, ConnectionRecord
from worker.model.disk import Disk
from worker.model.guest import Guest, InnerDisk
from worker.model.ids import AttachmentId, BlockDeviceId, InstanceId, OperationId, VolumeId
from worker.model.instance import Instance
from worker.model.operation import Fault, Operation, OperationState
from worker.model.secret import Secret
from worker.model.source import HostVolume
from worker.model.update import OutboxEntry, Update
from worker.model.volume import Attachment, PoolVolume, Volume, VolumeStatus


class Guests(ABC):
    """The hypervisor, seen as the guests that it runs."""

    @abstractmethod
    def describe(self, instance: InstanceId) -> Guest:
        """Return the guest as it is now; raises DomainNotFound, HypervisorUnavailable."""

    @abstractmethod
    def find(self, name_or_uuid: str) -> Guest:
        """Return the guest of that name or uuid; raises DomainNotFound, HypervisorUnavailable."""


class GuestDisks(ABC):
    """The hypervisor, seen as the disks of one guest."""

    @abstractmethod
    def attach(self, instance: InstanceId, disk: Disk) -> None:
        """Plug the disk in, into each of the live and persistent layouts that lacks it.

        Afterwards both have it at its address under its alias. Raises DomainNotFound,
        HypervisorRefused, HypervisorUnavailable; GuestBusy when a ghost is in its place and stays.
        """

    @abstractmethod
    def unplug(self, instance: InstanceId, alias: str) -> None:
        """Take the disk from the running guest and wait until it has let go.

        A disk, or a guest, that is not there is fine; the persistent layout is not touched.
        Raises GuestBusy when the guest keeps the disk, HypervisorUnavailable.
        """

    @abstractmethod
    def forget(self, instance: InstanceId, alias: str) -> None:
        """Take the disk from the persistent layout; one that is not there is fine."""


class GuestInsides(ABC):
    """QEMU itself, seen past its hypervisor, which may deny what QEMU has (DESIGN section 1.2).

    To ask marks a guest as tampered with (libvirt's ``custom-monitor``), so it is for guests whose
    hypervisor died, and for repair.
    """

    @abstractmethod
    def disks(self, instance: InstanceId) -> tuple[InnerDisk, ...]:
        """Return the disks that bear an alias of ours (``ua-``), by alias.

        A guest that does not run, or is not there, has none. Raises HypervisorUnavailable.
        """

    @abstractmethod
    def in_doubt(self, instance: InstanceId) -> bool:
        """Tell whether the hypervisor died under the guest, so that QEMU is to be asked."""

    @abstractmethod
    def remove(self, instance: InstanceId, alias: str) -> None:
        """Take a disk that the hypervisor denies out of QEMU, and what QEMU opened for it.

        One that is not there is fine. Raises GuestBusy when the guest keeps it, HypervisorRefused
        when the hypervisor has the disk too (then it is no ghost), HypervisorUnavailable.
        """


class Volumes(ABC):
    """The volume service, seen as volumes."""

    @abstractmethod
    def show(self, volume: VolumeId) -> Volume:
        """Return the volume; raises VolumeNotFound, VolumeServiceUnavailable."""

    @abstractmethod
    def begin_detaching(self, volume: VolumeId) -> None:
        """Mark the volume as detaching; one that is marked already is fine."""

    @abstractmethod
    def roll_detaching(self, volume: VolumeId) -> None:
        """Mark a detaching volume as in use again; one that is not detaching is fine."""


class Attachments(ABC):
    """The volume service, seen as records of who holds which volume."""

    @abstractmethod
    def get(self, attachment: AttachmentId) -> Attachment:
        """Return the attachment; raises AttachmentNotFound, VolumeServiceUnavailable."""

    @abstractmethod
    def find(self, volume: VolumeId, instance: InstanceId) -> Attachment | None:
        """Return the attachment of the volume to the instance, if there is one."""

    @abstractmethod
    def of_instance(self, instance: InstanceId) -> tuple[Attachment, ...]:
        """Return every attachment of the instance, whoever made it."""

    @abstractmethod
    def create(self, volume: VolumeId, instance: InstanceId) -> Attachment:
        """Reserve the volume for the instance; raises VolumeNotFound, VolumeInUse."""

    @abstractmethod
    def connect(self, attachment: AttachmentId, connector: Mapping[str, Any]) -> Connection:
        """Export the volume to the host that the connector describes; return how to reach it."""

    @abstractmethod
    def complete(self, attachment: AttachmentId) -> None:
        """Report the volume as in use; one that is reported already is fine."""

    @abstractmethod
    def delete(self, attachment: AttachmentId) -> None:
        """Withdraw the export and forget the attachment; an unknown one is fine."""


class PoolVolumes(ABC):
    """The built-in pool, seen as a place to make volumes."""

    @abstractmethod
    def confirm(
        self, volume: VolumeId, *, size: int | None, path: str | None, name: str, multiattach: bool
    ) -> None:
        """Check that a volume there is, is the one described; raises VolumeTaken."""

    @abstractmethod
    def create(
        self, volume: VolumeId, *, size: int | None, path: str | None, name: str, multiattach: bool
    ) -> Volume:
        """Make a volume of ``size`` bytes, or take the file at ``path`` as one, in place.

        Exactly one of the two is given. The same volume again is fine. Raises RequestMalformed,
        VolumeFileUnusable, VolumeTaken.
        """

    @abstractmethod
    def delete(self, volume: VolumeId) -> None:
        """Forget the volume, and its file if the pool made it; raises VolumeInUse.

        One that is not there is fine.
        """

    @abstractmethod
    def list(self) -> tuple[Volume, ...]:
        """Return every volume of the pool, by name and id."""


class Connector(ABC):
    """This host's side of the storage network."""

    @abstractmethod
    def properties(self) -> Mapping[str, Any]:
        """Return what the host tells a volume service about itself (os-brick's connector)."""

    @abstractmethod
    def connect(self, connection: Connection) -> HostVolume:
        """Make the volume appear on this host; raises ConnectFailed, ProtocolUnsupported."""

    @abstractmethod
    def find(self, connection: Connection) -> HostVolume | None:
        """Return the volume as it is on this host, None where it is not; connects nothing."""

    @abstractmethod
    def size(self, volume: HostVolume) -> int:
        """Return the size of the connected volume in bytes, read anew from the device."""

    @abstractmethod
    def disconnect(self, connection: Connection, *, force: bool = False) -> None:
        """Make the volume disappear; a connection without its secrets will do.

        One that is not there is fine. Raises ConnectFailed.
        """


class BlockDevices(ABC):
    """The rows of ``block_device_mapping``.

    ``insert``, ``release`` and ``move`` are done when they return. ``save`` and ``remove`` become
    durable with the next outside call, or with the end of the request, with what is told.
    """

    @abstractmethod
    def get(self, uuid: BlockDeviceId) -> BlockDevice:
        """Return the row, removed ones included; raises BlockDeviceNotFound."""

    @abstractmethod
    def look(self, uuid: BlockDeviceId) -> BlockDevice | None:
        """Return the row, removed ones included, or None."""

    @abstractmethod
    def of_instance(self, instance: InstanceId) -> tuple[BlockDevice, ...]:
        """Return the live rows of an instance, by device name."""

    @abstractmethod
    def bearing(self, instance: InstanceId, alias: str) -> BlockDevice | None:
        """Return the row that gave a disk of the instance its alias: the live one, or the last."""

    @abstractmethod
    def holding(self, attachment: AttachmentId) -> BlockDevice | None:
        """Return the row that has the attachment: the live one, or the last removed."""

    @abstractmethod
    def reserved_before(self, moment: datetime) -> tuple[BlockDevice, ...]:
        """Return the rows of this host's instances that are only reserved, since before then."""

    @abstractmethod
    def insert(self, device: BlockDevice, tell: Update) -> None:
        """Add a row and tell it.

        Raises DeviceNameTaken, AddressTaken, VolumeAlreadyAttached or IdTaken, as the
        constraint that refused it says.
        """

    @abstractmethod
    def release(self, device: BlockDevice, tell: Update) -> None:
        """Delete the row and tell it, if it is still reserved; else DeviceWrongState."""

    @abstractmethod
    def move(self, device: BlockDevice, status: DeviceStatus) -> BlockDevice:
        """Change the status, if it is still ``device.status``; else DeviceWrongState."""

    @abstractmethod
    def save(self, device: BlockDevice) -> None:
        """Keep the row as given."""

    @abstractmethod
    def remove(self, device: BlockDevice) -> None:
        """Delete the row (softly: it is never used again); one that is gone is fine."""


class Connections(ABC):
    """The record of what this host is connected to, whatever became of the row."""

    @abstractmethod
    def put(self, device: BlockDevice, connection: Connection) -> None:
        """Keep the connection, its secrets removed, before it is made."""

    @abstractmethod
    def get(self, device: BlockDeviceId) -> Connection | None:
        """Return the connection kept for a row."""

    @abstractmethod
    def list(self) -> tuple[ConnectionRecord, ...]:
        """Return every record of this host, oldest first."""

    @abstractmethod
    def drop(self, device: BlockDeviceId) -> None:
        """Forget the connection once it is gone from the host."""


class Instances(ABC):
    """The rows of ``instances``; ``save`` is durable as ``BlockDevices.save`` is."""

    @abstractmethod
    def get(self, instance: InstanceId) -> Instance:
        """Return the instance of this host; raises InstanceNotFound."""

    @abstractmethod
    def list(self) -> tuple[Instance, ...]:
        """Return the instances of this host, by name."""

    @abstractmethod
    def insert(self, instance: Instance) -> None:
        """Add a row, at once; raises InstanceTaken."""

    @abstractmethod
    def save(self, instance: Instance) -> None:
        """Keep the row as given."""


class Updates(ABC):
    """What is told to the bus."""

    @abstractmethod
    def tell(self, update: Update) -> None:
        """Write the update to the outbox, with the next durable change."""


class Progress(ABC):
    """How far the operation at hand has come."""

    @property
    @abstractmethod
    def operation(self) -> Operation | None:
        """The operation as it was accepted; None for a call."""

    @property
    @abstractmethod
    def past_commit_point(self) -> bool:
        """Whether the operation only goes forward."""

    @abstractmethod
    def pass_commit_point(self) -> None:
        """From here the operation only goes forward; durable with the next outside call."""

    @abstractmethod
    def reached(self, step: str) -> bool:
        """Tell whether a step of that name (``disks.attach``) was ever begun.

        Asked before its first step, a run learns what an earlier one, that was cut off, may have
        done.
        """


class Operations(ABC):
    """The journal: what was asked of this host and what became of it."""

    @abstractmethod
    def accept(self, operation: Operation) -> tuple[Operation, bool]:
        """Keep the operation, at once; return it as kept, and whether it is new.

        One that was accepted before changes nothing and comes back as it is now; with other
        arguments it raises OperationConflict.
        """

    @abstractmethod
    def accept_new(self, operations: Sequence[Operation]) -> tuple[Operation, ...]:
        """Keep several operations, at once, in their order; return them as kept.

        Raises OperationConflict, and keeps none, unless all are new.
        """

    @abstractmethod
    def get(self, operation: OperationId) -> Operation:
        """Return the operation with its steps; raises OperationNotFound."""

    @abstractmethod
    def list(
        self,
        *,
        instance: InstanceId | None = None,
        states: Sequence[OperationState] = (),
        limit: int | None = None,
    ) -> tuple[Operation, ...]:
        """Return operations without their steps, newest first."""

    @abstractmethod
    def unfinished(self) -> tuple[Operation, ...]:
        """Return what is queued or running, in the order it was accepted."""

    @abstractmethod
    def last_for(self, device: BlockDeviceId, method: str | None = None) -> Operation | None:
        """Return the newest operation, or the newest of that method, that names the row."""

    @abstractmethod
    def mark_late(self, operation: OperationId) -> None:
        """Note, at once, that an operation runs past its deadline; one that has ended stays."""


class StuckOperations(ABC):
    """What an operator decides of an operation that is stuck; done when they return.

    What the other ports of the request have written is committed with it, or not at all. Each
    raises OperationNotFound, and OperationWrongState unless the operation is stuck.
    """

    @abstractmethod
    def reopen(self, operation: OperationId) -> Operation:
        """Leave it to be run again from where it stands; return it as kept, with its steps.

        The commit point and the steps stay, no attempt is counted, the fault is forgotten. One
        that had begun is running, for it must neither expire nor be told as begun again.
        """

    @abstractmethod
    def abandon(self, operation: OperationId, tell: Update | None) -> Operation:
        """Give it its end, ``abandoned``, and tell it; its fault stays. Return it as kept."""


class OperationRecord(ABC):
    """The journal's page of one operation while it runs.

    What the ports of the operation have written is committed by ``open_step`` and by ``end``.
    """

    @abstractmethod
    def start(self, tell: Update | None, deadline: datetime | None = None) -> None:
        """Mark the operation as running until that time, and tell it unless it was begun before."""

    @abstractmethod
    def open_step(self, name: str, *, look: bool = False) -> int:
        """Write down, durably, that a step begins; return its number.

        That of a mere look may wait for its end, once the operation's start is durable and
        unless an earlier run of it was cut off: a look that kills the worker is to be counted.
        """

    @abstractmethod
    def close_step(self, number: int, seconds: float, fault: Fault | None) -> None:
        """Write down, with the next commit, how the step ended."""

    @abstractmethod
    def count_attempt(self) -> int:
        """Note, durably, that the worker died in a step; return how often by now."""

    @abstractmethod
    def end(self, state: OperationState, fault: Fault | None, tell: Update | None) -> Operation:
        """Give the operation its end, durably; return it as kept.

        Its sealed arguments are blanked, unless it is stuck: it may be run again.
        """


class Outbox(ABC):
    """The updates that wait to be published."""

    @abstractmethod
    def waiting(self, limit: int, but: Sequence[int] = ()) -> tuple[OutboxEntry, ...]:
        """Return unpublished updates, oldest first; those whose ids are in ``but`` are left out."""

    @abstractmethod
    def published(self, entries: Sequence[int]) -> None:
        """Note, durably, that the broker has confirmed these."""

    @abstractmethod
    def wait(self, seconds: float) -> None:
        """Return when an update was written, or after that time."""


class PoolRecords(ABC):
    """What the built-in pool remembers of its volumes and attachments; each call is durable."""

    @abstractmethod
    def volumes(self) -> tuple[PoolVolume, ...]:
        """Return every volume."""

    @abstractmethod
    def volume(self, volume: VolumeId) -> PoolVolume | None:
        """Return one volume."""

    @abstractmethod
    def put_volume(self, volume: PoolVolume) -> None:
        """Add the volume, or keep it as given; raises VolumeTaken if another has its path."""

    @abstractmethod
    def drop_volume(self, volume: VolumeId) -> None:
        """Forget the volume; raises VolumeInUse while it has attachments."""

    @abstractmethod
    def set_status(
        self, volume: VolumeId, status: VolumeStatus, *, only_from: Sequence[VolumeStatus]
    ) -> bool:
        """Change the status if it is one of ``only_from``; return whether it was."""

    @abstractmethod
    def attachments(self, volume: VolumeId) -> tuple[Attachment, ...]:
        """Return the attachments of a volume."""

    @abstractmethod
    def attachments_of(self, instance: InstanceId) -> tuple[Attachment, ...]:
        """Return the attachments to an instance."""

    @abstractmethod
    def attachment(self, attachment: AttachmentId) -> Attachment | None:
        """Return one attachment."""

    @abstractmethod
    def reserve(self, attachment: Attachment) -> None:
        """Add an attachment and mark its volume as reserved, in one transaction.

        Raises VolumeInUse unless the volume is available, or takes several attachments; a
        second attachment of one volume to one instance is refused too.
        """

    @abstractmethod
    def put_attachment(self, attachment: Attachment, volume_status: VolumeStatus) -> None:
        """Keep the attachment as given, and the status that its volume has with it."""

    @abstractmethod
    def drop_attachment(self, attachment: AttachmentId) -> None:
        """Forget the attachment; its volume is available when it was the last."""


class Seals(ABC):
    """Secret arguments on their way into the journal and out of it again."""

    @abstractmethod
    def seal(self, operation: OperationId, name: str, secret: Secret) -> str:
        """Return the argument sealed; the same one of the same operation always seals alike."""

    @abstractmethod
    def open(self, operation: OperationId, name: str, sealed: str) -> Secret:
        """Return what was sealed for this argument; raises SecretLost."""


class Clock(ABC):
    """Time, so that tests need not wait."""

    @abstractmethod
    def now(self) -> datetime:
        """Return the time in UTC, with its zone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """All of the outside world that one request may touch."""

    host: str
    max_disk_devices: int
    guests: Guests
    disks: GuestDisks
    insides: GuestInsides
    volumes: Volumes
    attachments: Attachments
    pool: PoolVolumes
    connector: Connector
    devices: BlockDevices
    connections: Connections
    instances: Instances
    updates: Updates
    operations: Operations
    stuck: StuckOperations
    progress: Progress
    seals: Seals
    clock: Clock
