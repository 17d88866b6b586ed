"""The words of drift: what may differ, what was read, what was found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from worker.model.block_device import BlockDevice
from worker.model.connection import ConnectionRecord
from worker.model.guest import Guest, InnerDisk
from worker.model.identity.lookup import Found
from worker.model.ids import AttachmentId, BlockDeviceId, InstanceId, OperationId, VolumeId
from worker.model.leftover import Leftover
from worker.model.rescue.words import Rescue
from worker.model.volume import Attachment, Volume


class DriftKind(StrEnum):
    """What differs; the words are stable. ``docs/drift.md`` has a line for each."""

    UNREADABLE = "unreadable"
    DOMAIN_GONE = "domain_gone"
    STUCK = "stuck"
    UNSETTLED = "unsettled"
    MISSING = "missing"
    LIVE_MISSING = "live_missing"
    LIVE_DIFFERS = "live_differs"
    LIVE_LEFT = "live_left"
    PERSISTENT_MISSING = "persistent_missing"
    PERSISTENT_DIFFERS = "persistent_differs"
    PERSISTENT_LEFT = "persistent_left"
    GHOST = "ghost"
    QEMU_MISSING = "qemu_missing"
    ATTACHMENT_MISSING = "attachment_missing"
    ATTACHMENT_INCOMPLETE = "attachment_incomplete"
    ATTACHMENT_DIFFERS = "attachment_differs"
    ATTACHMENT_LEFT = "attachment_left"
    VOLUME_MISSING = "volume_missing"
    VOLUME_DETACHING = "volume_detaching"
    VOLUME_STATUS = "volume_status"
    CONNECTION_MISSING = "connection_missing"
    CONNECTION_LEFT = "connection_left"
    DEVICE_MISSING = "device_missing"
    FILE_MISSING = "file_missing"
    SESSION_LEFT = "session_left"
    DEVICE_LEFT = "device_left"
    MAP_LEFT = "map_left"
    CONTROLLER_LEFT = "controller_left"
    MOUNT_LEFT = "mount_left"
    EXPORT_LEFT = "export_left"
    SECRET_LEFT = "secret_left"  # noqa: S105 - a kind of drift, no password


@dataclass(frozen=True, slots=True, kw_only=True)
class Mend:
    """What becomes of a difference: ``does`` says what a repair would do, else ``why_not``.

    One that ``waits`` is done once another difference of the same look is mended.
    """

    does: str | None = None
    why_not: str | None = None
    waits: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference; ``views`` holds what each view says of the device, by its name.

    ``thing`` is what was left on this host, where it is that.
    """

    kind: DriftKind
    instance: InstanceId
    device: BlockDevice | None = None
    alias: str | None = None
    record: ConnectionRecord | None = None
    thing: Leftover | None = None
    views: Mapping[str, str] = field(default_factory=dict)
    mend: Mend

    @property
    def safe(self) -> bool:
        """Whether a repair mends it."""
        return self.mend.does is not None

    @property
    def subject(self) -> tuple[str, ...]:
        """What it is, whenever it is looked at: the same one twice is one that stays."""
        device = "" if self.device is None else self.device.uuid
        record = "" if self.record is None else self.record.device
        thing = "" if self.thing is None else self.thing.name
        return (self.kind.value, device, record, self.alias or "", thing)

    def public(self) -> dict[str, Any]:
        """Return the fields that may leave the worker."""
        device, record = self.device, self.record
        named = None if device is None else device.uuid
        return {
            "kind": self.kind.value,
            "instance_uuid": self.instance,
            "bdm_uuid": named or (None if record is None else record.device),
            "volume_id": _volume_of(device, record),
            "device_name": None if device is None else device.device_name,
            "alias": self.alias or (None if device is None else device.alias),
            "thing": None if self.thing is None else str(self.thing),
            "views": dict(self.views),
            "repair": self.mend.does,
            "why_not": self.mend.why_not,
            "safe": self.safe,
        }


def _volume_of(device: BlockDevice | None, record: ConnectionRecord | None) -> VolumeId | None:
    if device is not None:
        return device.volume
    return None if record is None else record.volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """All that was read of one instance.

    ``guest`` is None when its domain is gone, ``inner`` when QEMU was not asked. ``removed`` are
    the removed rows that a disk, a record or an attachment is named by. ``sources`` says where
    on this host the volume of a connected row is, or the file of a local disk; ``absent`` are
    those whose volume or file is not; of a local disk of other hands neither says anything.
    ``formers`` are the aliases that adopted disks had before; ``shared`` are rows whose volume
    another record of the host has too. ``at_work`` and ``stuck`` are rows by the operation that
    has them; ``refused`` rows whose last detach the guest did not let end. ``rescue`` is the one in
    which the guest runs, of which its live layout shows nothing here; ``rowless`` are aliases of
    disks that this worker gives an instance and has no row of.
    """

    instance: InstanceId
    guest: Guest | None
    inner: tuple[InnerDisk, ...] | None = None
    rows: tuple[BlockDevice, ...] = ()
    removed: tuple[BlockDevice, ...] = ()
    attachments: Mapping[AttachmentId, Attachment] = field(default_factory=dict)
    volumes: Mapping[VolumeId, Volume] = field(default_factory=dict)
    records: Mapping[BlockDeviceId, ConnectionRecord] = field(default_factory=dict)
    sources: Mapping[BlockDeviceId, str] = field(default_factory=dict)
    formers: Mapping[BlockDeviceId, str] = field(default_factory=dict)
    absent: frozenset[BlockDeviceId] = frozenset()
    shared: frozenset[BlockDeviceId] = frozenset()
    at_work: Mapping[BlockDeviceId, OperationId | None] = field(default_factory=dict)
    stuck: Mapping[BlockDeviceId, OperationId | None] = field(default_factory=dict)
    refused: frozenset[BlockDeviceId] = frozenset()
    rescue: Rescue | None = None
    rowless: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What a comparison found.

    ``in_flux`` are the rows that an unfinished operation is working on, which were left out;
    ``by_facts`` are devices that were found without their alias;
    ``foreign`` is how many disks and attachments of the instance are not ours.
    """

    differences: tuple[Difference, ...] = ()
    in_flux: Mapping[BlockDeviceId, OperationId | None] = field(default_factory=dict)
    by_facts: tuple[tuple[BlockDevice, Found], ...] = ()
    foreign: int = 0
