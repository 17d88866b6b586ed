"""The pool as a volume service: who holds which of its volumes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from worker.errors import AttachmentNotFound, VolumeInUse
from worker.model.connection import Connection
from worker.model.ids import AttachmentId, InstanceId, VolumeId, new_uuid
from worker.model.volume import Attachment, AttachmentStatus, PoolVolume, VolumeStatus
from worker.ports import Attachments, PoolRecords
from worker.volume.pool.examine import check_present
from worker.volume.pool.faces import Face
from worker.volume.pool.status import require

_STATUS_WITH = {
    AttachmentStatus.RESERVED: VolumeStatus.RESERVED,
    AttachmentStatus.ATTACHING: VolumeStatus.ATTACHING,
    AttachmentStatus.ATTACHED: VolumeStatus.IN_USE,
}
"""What a volume is with an attachment of that kind; the last in this order wins."""


class PoolAttachments(Attachments):
    """Attachments to the pool's volumes, which are reached by way of its ``face``.

    The rows have no secret: who is given an attachment is given its secrets with it, made again.
    """

    def __init__(self, *, records: PoolRecords, face: Face) -> None:
        self._records = records
        self._face = face

    def get(self, attachment: AttachmentId) -> Attachment:
        """Return the attachment; raises AttachmentNotFound."""
        return self._opened(self._kept(attachment))

    def find(self, volume: VolumeId, instance: InstanceId) -> Attachment | None:
        """Return the attachment of the volume to the instance, if there is one."""
        attachments = self._records.attachments(volume)
        held = next((each for each in attachments if each.instance == instance), None)
        return None if held is None else self._opened(held)

    def of_instance(self, instance: InstanceId) -> tuple[Attachment, ...]:
        """Return every attachment of the instance."""
        return tuple(map(self._opened, self._records.attachments_of(instance)))

    def create(self, volume: VolumeId, instance: InstanceId) -> Attachment:
        """Reserve the volume; the same pair again answers the attachment there is.

        Raises VolumeNotFound, VolumeInUse.
        """
        require(self._records, volume)
        wanted = Attachment(
            id=AttachmentId(new_uuid()),
            volume=volume,
            instance=instance,
            status=AttachmentStatus.RESERVED,
        )
        try:
            self._records.reserve(wanted)
        except VolumeInUse:
            held = self.find(volume, instance)
            if held is None:
                raise
            return held
        return wanted

    def connect(self, attachment: AttachmentId, connector: Mapping[str, Any]) -> Connection:
        """Export the volume to the connector's host and answer how it is reached.

        One that is connected is answered as it is, and exported again if it is not. Raises
        AttachmentNotFound, RequestMalformed for a connector that cannot reach it,
        VolumeFileUnusable when the file is missing, WrongDevice when it has shrunk,
        VolumeServiceUnavailable.
        """
        with self._face.alone():
            held = self._kept(attachment)
            record = require(self._records, held.volume)
            connection = held.connection or self._way(record, connector)
            fresh = held.connection is None
            if fresh:
                attaching = AttachmentStatus.ATTACHING
                held = replace(held, status=attaching, connection=connection)
            self._face.export(record, (*self._others(held), held))
            if fresh:
                # Last: what is exported and not remembered is withdrawn by the volume's next call.
                self._records.put_attachment(held, VolumeStatus.ATTACHING)
            return self._face.opened(attachment, connection)

    def complete(self, attachment: AttachmentId) -> None:
        """Report the volume as in use; raises AttachmentNotFound, VolumeInUse if unconnected."""
        held = self._kept(attachment)
        if held.status is AttachmentStatus.ATTACHED:
            return
        if held.connection is None:
            raise VolumeInUse(f"attachment {attachment} is {held.status}: it was never connected")
        self._records.put_attachment(
            replace(held, status=AttachmentStatus.ATTACHED), VolumeStatus.IN_USE
        )

    def delete(self, attachment: AttachmentId) -> None:
        """Withdraw the export and forget the attachment; an unknown one is fine.

        Raises VolumeServiceUnavailable.
        """
        with self._face.alone():
            held = self._records.attachment(attachment)
            if held is None:
                return
            others = self._others(held)
            self._face.withdraw(require(self._records, held.volume), attachment, others)
            self._give_back_status(held, others)
            self._records.drop_attachment(attachment)

    def _kept(self, attachment: AttachmentId) -> Attachment:
        record = self._records.attachment(attachment)
        if record is None:
            raise AttachmentNotFound(f"the pool has no attachment {attachment}")
        return record

    def _opened(self, held: Attachment) -> Attachment:
        if held.connection is None:
            return held
        return replace(held, connection=self._face.opened(held.id, held.connection))

    def _way(self, record: PoolVolume, connector: Mapping[str, Any]) -> Connection:
        self._face.validate(connector)
        check_present(record)
        return self._face.connection(record, connector)

    def _others(self, held: Attachment) -> tuple[Attachment, ...]:
        attachments = self._records.attachments(held.volume)
        return tuple(other for other in attachments if other.id != held.id)

    def _give_back_status(self, leaving: Attachment, staying: Sequence[Attachment]) -> None:
        """Let a shared volume have the status that it has with those who stay."""
        kinds = {other.status for other in staying}
        for kind in reversed(_STATUS_WITH):
            if kind in kinds:
                self._records.set_status(
                    leaving.volume, _STATUS_WITH[kind], only_from=tuple(_STATUS_WITH.values())
                )
                return
