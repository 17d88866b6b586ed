"""The pool as a volume service: who holds which of its volumes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from worker.errors import AttachmentNotFound, RequestMalformed, VolumeInUse
from worker.model.connection import Connection
from worker.model.ids import AttachmentId, InstanceId, VolumeId, new_uuid
from worker.model.volume import Attachment, AttachmentStatus, PoolVolume, VolumeStatus
from worker.ports import Attachments, PoolRecords
from worker.volume.pool.examine import check_present
from worker.volume.pool.status import require

_STATUS_WITH = {
    AttachmentStatus.RESERVED: VolumeStatus.RESERVED,
    AttachmentStatus.ATTACHING: VolumeStatus.ATTACHING,
    AttachmentStatus.ATTACHED: VolumeStatus.IN_USE,
}
"""What a volume is with an attachment of that kind; the last in this order wins."""


class PoolAttachments(Attachments):
    """Attachments to files of ``host``, which are reached by their path and from nowhere else."""

    def __init__(self, *, records: PoolRecords, host: str) -> None:
        self._records = records
        self._host = host

    def get(self, attachment: AttachmentId) -> Attachment:
        """Return the attachment; raises AttachmentNotFound."""
        record = self._records.attachment(attachment)
        if record is None:
            raise AttachmentNotFound(f"the pool has no attachment {attachment}")
        return record

    def find(self, volume: VolumeId, instance: InstanceId) -> Attachment | None:
        """Return the attachment of the volume to the instance, if there is one."""
        attachments = self._records.attachments(volume)
        return next((held for held in attachments if held.instance == instance), None)

    def of_instance(self, instance: InstanceId) -> tuple[Attachment, ...]:
        """Return every attachment of the instance."""
        return self._records.attachments_of(instance)

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
        """Look at the volume's file and answer where it is.

        Raises AttachmentNotFound, RequestMalformed for a connector of another host,
        VolumeFileUnusable when the file is missing, WrongDevice when it has shrunk.
        """
        held = self.get(attachment)
        if held.connection is not None:
            return held.connection
        self._validate(connector)
        record = require(self._records, held.volume)
        check_present(record)
        connection = _connection(record)
        self._records.put_attachment(
            replace(held, status=AttachmentStatus.ATTACHING, connection=connection),
            VolumeStatus.ATTACHING,
        )
        return connection

    def complete(self, attachment: AttachmentId) -> None:
        """Report the volume as in use; raises AttachmentNotFound, VolumeInUse if unconnected."""
        held = self.get(attachment)
        if held.status is AttachmentStatus.ATTACHED:
            return
        if held.connection is None:
            raise VolumeInUse(f"attachment {attachment} is {held.status}: it was never connected")
        self._records.put_attachment(
            replace(held, status=AttachmentStatus.ATTACHED), VolumeStatus.IN_USE
        )

    def delete(self, attachment: AttachmentId) -> None:
        """Forget the attachment; an unknown one is fine."""
        held = self._records.attachment(attachment)
        if held is None:
            return
        self._give_back_status(held)
        self._records.drop_attachment(attachment)

    def _validate(self, connector: Mapping[str, Any]) -> None:
        host = connector.get("host")
        if host != self._host:
            raise RequestMalformed(
                f"connector of host {host!r}: the pool's volumes are files of {self._host!r}"
            )

    def _give_back_status(self, leaving: Attachment) -> None:
        """Let a shared volume have the status that it has with those who stay."""
        staying = {
            other.status
            for other in self._records.attachments(leaving.volume)
            if other.id != leaving.id
        }
        for kind in reversed(_STATUS_WITH):
            if kind in staying:
                self._records.set_status(
                    leaving.volume, _STATUS_WITH[kind], only_from=tuple(_STATUS_WITH.values())
                )
                return


def _connection(record: PoolVolume) -> Connection:
    properties: dict[str, Any] = {
        "device_path": record.path,
        "access_mode": "rw",
        "volume_id": record.volume.id,
    }
    if record.volume.multiattach:
        properties["multiattach"] = True
    return Connection(protocol="local", properties=properties)
