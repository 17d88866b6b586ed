"""The volume service's side: volumes and attachments."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from worker.model.connection import Connection
from worker.model.ids import AttachmentId, InstanceId, KeyId, VolumeId

GIB = 1 << 30


def gib(size: int) -> int:
    """Return so many bytes in GiB, rounded up."""
    return -(-size // GIB)


class VolumeStatus(StrEnum):
    """Cinder's words for the states of a volume."""

    AVAILABLE = "available"
    RESERVED = "reserved"
    ATTACHING = "attaching"
    IN_USE = "in-use"
    DETACHING = "detaching"
    ERROR = "error"
    CREATING = "creating"
    DOWNLOADING = "downloading"
    UPLOADING = "uploading"
    EXTENDING = "extending"
    RETYPING = "retyping"
    MAINTENANCE = "maintenance"
    BACKING_UP = "backing-up"
    RESTORING = "restoring-backup"
    DELETING = "deleting"
    OTHER = "other"


class AttachmentStatus(StrEnum):
    """How far an attachment has come (Cinder's ``attach_status``)."""

    RESERVED = "reserved"
    ATTACHING = "attaching"
    ATTACHED = "attached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume; ``size`` is in bytes.

    ``project_id`` says whose it is: None for an operator's, and where the service does not say.
    ``migrating`` is whether the service is moving it to another backend, or another one into it.
    """

    id: VolumeId
    size: int
    status: VolumeStatus
    name: str = ""
    volume_type: str | None = None
    multiattach: bool = False
    encrypted: bool = False
    project_id: str | None = None
    migrating: bool = False

    @property
    def size_gib(self) -> int:
        """The size in GiB, rounded up, as the table has always kept it."""
        return gib(self.size)

    def public(self) -> dict[str, str | int | bool | None]:
        """Return the fields that may leave the worker; ``size`` is in bytes."""
        return {
            "id": self.id,
            "name": self.name,
            "size": self.size,
            "status": self.status.value,
            "volume_type": self.volume_type,
            "multiattach": self.multiattach,
            "encrypted": self.encrypted,
            "project_id": self.project_id,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """How a volume's content is encrypted: by whom (Cinder's ``provider``), with which key.

    ``key`` is what the key manager knows it by; None where the volume's own id is that.
    """

    provider: str
    key: KeyId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVolume:
    """A volume that the built-in pool is asked for: of ``size`` bytes, or the file at ``path``.

    ``options`` are those of the ``PoolVolume`` that it becomes.
    """

    id: VolumeId
    size: int | None = None
    path: str | None = None
    name: str = ""
    multiattach: bool = False
    encrypted: bool = False
    project_id: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolVolume:
    """A volume of the built-in pool: the volume, its file, and whether the pool made that file.

    ``options`` are properties that each of its connections has: limits, discard, block sizes.
    ``host`` is the one that has made it and ``created_at`` is when, as the records know by
    themselves; those of older releases do not.
    """

    volume: Volume
    path: str
    owned: bool
    options: Mapping[str, Any] = field(default_factory=dict)
    host: str | None = field(default=None, compare=False)
    created_at: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """The volume service's record that an instance holds a volume.

    ``connection`` is there once a connector was given; it may hold secrets.
    """

    id: AttachmentId
    volume: VolumeId
    instance: InstanceId | None
    status: AttachmentStatus
    connection: Connection | None = None
