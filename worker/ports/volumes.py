"""The volume service, and this host's side of the storage network."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from worker.model.connection import Connection
from worker.model.ids import AttachmentId, BlockDeviceId, InstanceId, VolumeId
from worker.model.secret import Secret
from worker.model.source import HostVolume, Seen
from worker.model.volume import Attachment, Encryption, NewVolume, PoolVolume, Volume, VolumeStatus


class Volumes(ABC):
    """The volume service, seen as volumes."""

    @abstractmethod
    def show(self, volume: VolumeId) -> Volume:
        """Return the volume; raises VolumeNotFound, VolumeServiceUnavailable."""

    @abstractmethod
    def encryption(self, volume: VolumeId) -> Encryption:
        """Return how an encrypted volume's content is encrypted.

        Raises VolumeNotFound, VolumeServiceUnavailable, EncryptionUnsupported for one that is not
        encrypted, or not by its host.
        """

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


class Keys(ABC):
    """The key manager, seen as what opens encrypted volumes."""

    @abstractmethod
    def passphrase(self, volume: VolumeId, encryption: Encryption) -> Secret:
        """Return the passphrase of the volume; raises KeyNotFound, KeysUnavailable."""


class PoolVolumes(ABC):
    """The built-in pool, seen as a place to make volumes."""

    @abstractmethod
    def confirm(self, wanted: NewVolume) -> None:
        """Check that a volume there is, is the one described; raises VolumeTaken."""

    @abstractmethod
    def create(self, wanted: NewVolume) -> Volume:
        """Make a volume of a size, or take the file at a path as one, in place.

        Exactly one of the two is said. The same volume again is fine. Raises RequestMalformed,
        VolumeFileUnusable, VolumeTaken.
        """

    @abstractmethod
    def delete(self, volume: VolumeId) -> None:
        """Forget the volume, and its file if the pool made it; raises VolumeInUse.

        One that is not there is fine.
        """

    @abstractmethod
    def check_growth(self, volume: VolumeId, size: int) -> None:
        """Look whether ``grow`` would be refused, and raise what it would; nothing is changed."""

    @abstractmethod
    def grow(self, volume: VolumeId, size: int) -> Volume:
        """Have the volume be of ``size`` bytes, in use or not; return it as it is then.

        Of that size already is fine. Raises VolumeNotFound, VolumeFileUnusable, RequestMalformed
        for less than it has; VolumeServiceUnavailable, after which it may have grown in part.
        """

    @abstractmethod
    def list(self) -> tuple[Volume, ...]:
        """Return every volume of the pool, by name and id."""


class Sharing(ABC):
    """Which rows of this host have a volume between them, for lanes that run side by side.

    What is said here holds at once for every lane, durable or not, and ends with the worker.
    """

    @abstractmethod
    def alone(self, *volumes: VolumeId) -> AbstractContextManager[None]:
        """Be alone with these volumes on this host: to connect, or to see who is the last.

        Not to be entered again from within; all that are needed are named at once. Raises
        VolumeBusy when another keeps one of them past the deadline of who asks.
        """

    @abstractmethod
    def uses(self, device: BlockDeviceId) -> None:
        """Note that the row uses its volume, from before it is connected."""

    @abstractmethod
    def left(self, device: BlockDeviceId) -> None:
        """Note that the row does not use its volume any more, whatever its record still says."""

    @abstractmethod
    def still(self, devices: frozenset[BlockDeviceId]) -> frozenset[BlockDeviceId]:
        """Return those of the rows that have not let go since."""


class PoolReading(ABC):
    """What the built-in pool remembers of its volumes, for whoever only looks."""

    @abstractmethod
    def volumes(self) -> tuple[PoolVolume, ...]:
        """Return every volume."""

    @abstractmethod
    def volume(self, volume: VolumeId) -> PoolVolume | None:
        """Return one volume."""


class PoolRecords(PoolReading):
    """What the built-in pool remembers of its volumes and attachments; each call is durable."""

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
    def set_size(self, volume: VolumeId, size: int) -> None:
        """Keep how many bytes the volume has, and all else of it as it is."""

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


class Connector(ABC):
    """This host's side of the storage network."""

    @abstractmethod
    def properties(self) -> Mapping[str, Any]:
        """Return what the host tells a volume service about itself (os-brick's connector)."""

    @abstractmethod
    def connect(self, connection: Connection) -> HostVolume:
        """Make the volume appear on this host; raises ConnectFailed.

        ProtocolUnsupported is raised before anything was done.
        """

    @abstractmethod
    def find(self, connection: Connection) -> HostVolume | None:
        """Return the volume as it is on this host, None where it is not; connects nothing."""

    @abstractmethod
    def examine(self, volume: HostVolume) -> Seen:
        """Read anew what the connected volume is, from the device itself.

        Raises ConnectFailed, and WrongDevice when the host takes it for another than it is.
        """

    @abstractmethod
    def extend(self, connection: Connection) -> int:
        """Have the host see how large the connected volume has become; return that in bytes.

        A connection without its secrets will do. Raises ConnectFailed.
        """

    @abstractmethod
    def disconnect(self, connection: Connection, *, force: bool = False) -> None:
        """Make the volume disappear; a connection without its secrets will do.

        One that is not there is fine. Raises ConnectFailed, also for one that is still there then.
        """
