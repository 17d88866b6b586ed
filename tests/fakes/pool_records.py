"""What the pool remembers, in memory."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from worker.errors import VolumeInUse, VolumeTaken
from worker.model.ids import AttachmentId, InstanceId, VolumeId
from worker.model.volume import Attachment, PoolVolume, VolumeStatus
from worker.ports import PoolRecords

HOST = "host-1"


class FakePoolRecords(PoolRecords):
    """Each call is one transaction, by one lock."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._volumes: dict[VolumeId, PoolVolume] = {}
        self._attachments: dict[AttachmentId, Attachment] = {}

    def volumes(self) -> tuple[PoolVolume, ...]:
        with self._lock:
            return tuple(self._volumes.values())

    def volume(self, volume: VolumeId) -> PoolVolume | None:
        with self._lock:
            return self._volumes.get(volume)

    def put_volume(self, volume: PoolVolume) -> None:
        with self._lock:
            for other in self._volumes.values():
                if other.path == volume.path and other.volume.id != volume.volume.id:
                    raise VolumeTaken(f"{volume.path} is the file of {other.volume.id}")
            there = self._volumes.get(volume.volume.id)
            host = HOST if there is None else there.host
            made = datetime.now(UTC) if there is None else there.created_at
            self._volumes[volume.volume.id] = replace(volume, host=host, created_at=made)

    def drop_volume(self, volume: VolumeId) -> None:
        with self._lock:
            if self.attachments(volume):
                raise VolumeInUse(f"volume {volume} has attachments")
            self._volumes.pop(volume, None)

    def set_status(
        self, volume: VolumeId, status: VolumeStatus, *, only_from: Sequence[VolumeStatus]
    ) -> bool:
        with self._lock:
            record = self._volumes.get(volume)
            if record is None or record.volume.status not in only_from:
                return False
            self._mark(volume, status)
            return True

    def set_size(self, volume: VolumeId, size: int) -> None:
        with self._lock:
            record = self._volumes[volume]
            self._volumes[volume] = replace(record, volume=replace(record.volume, size=size))

    def attachments(self, volume: VolumeId) -> tuple[Attachment, ...]:
        with self._lock:
            return tuple(held for held in self._attachments.values() if held.volume == volume)

    def attachments_of(self, instance: InstanceId) -> tuple[Attachment, ...]:
        with self._lock:
            return tuple(held for held in self._attachments.values() if held.instance == instance)

    def attachment(self, attachment: AttachmentId) -> Attachment | None:
        with self._lock:
            return self._attachments.get(attachment)

    def reserve(self, attachment: Attachment) -> None:
        with self._lock:
            volume = self._volumes[attachment.volume].volume
            if volume.status is not VolumeStatus.AVAILABLE and not volume.multiattach:
                raise VolumeInUse(f"volume {volume.id} is {volume.status}")
            if any(held.instance == attachment.instance for held in self.attachments(volume.id)):
                raise VolumeInUse(f"volume {volume.id} is on that instance")
            self.put_attachment(attachment, VolumeStatus.RESERVED)

    def put_attachment(self, attachment: Attachment, volume_status: VolumeStatus) -> None:
        with self._lock:
            self._attachments[attachment.id] = attachment
            self._mark(attachment.volume, volume_status)

    def drop_attachment(self, attachment: AttachmentId) -> None:
        with self._lock:
            gone = self._attachments.pop(attachment, None)
            if gone is not None and not self.attachments(gone.volume):
                self._mark(gone.volume, VolumeStatus.AVAILABLE)

    def _mark(self, volume: VolumeId, status: VolumeStatus) -> None:
        record = self._volumes[volume]
        self._volumes[volume] = replace(record, volume=replace(record.volume, status=status))
