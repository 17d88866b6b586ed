"""What the built-in pool remembers; each call is a transaction of its own."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import Insert, Row, Update, bindparam, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from worker.errors import VolumeInUse, VolumeTaken
from worker.model.ids import AttachmentId, InstanceId, VolumeId
from worker.model.volume import Attachment, AttachmentStatus, PoolVolume, Volume, VolumeStatus
from worker.persistence.database import Database
from worker.persistence.records.connection_json import connection_of, json_of
from worker.persistence.schema import POOL_ATTACHMENTS, POOL_VOLUMES
from worker.ports import Clock, PoolRecords

_IS_VOLUME = POOL_VOLUMES.c.id == bindparam("which")
_OF_VOLUME = POOL_ATTACHMENTS.c.volume_id == bindparam("which")
_IS_ATTACHMENT = POOL_ATTACHMENTS.c.id == bindparam("which")

_VOLUMES = select(POOL_VOLUMES).order_by(POOL_VOLUMES.c.id)
_VOLUME = select(POOL_VOLUMES).where(_IS_VOLUME)
_ADD_VOLUME = insert(POOL_VOLUMES)
_CHANGE_VOLUME = update(POOL_VOLUMES).where(_IS_VOLUME)
_DROP_VOLUME = delete(POOL_VOLUMES).where(_IS_VOLUME)
_CHANGE_FROM = _CHANGE_VOLUME.where(
    POOL_VOLUMES.c.status.in_(bindparam("only_from", expanding=True))
)
_RESERVE = _CHANGE_VOLUME.where(
    or_(POOL_VOLUMES.c.status == VolumeStatus.AVAILABLE.value, POOL_VOLUMES.c.multiattach)
).values(status=VolumeStatus.RESERVED.value)
_LOCK_VOLUME = _VOLUME.with_for_update()

_ATTACHMENTS = select(POOL_ATTACHMENTS).where(_OF_VOLUME).order_by(POOL_ATTACHMENTS.c.id)
_OF = (
    select(POOL_ATTACHMENTS)
    .where(POOL_ATTACHMENTS.c.instance_uuid == bindparam("instance"))
    .order_by(POOL_ATTACHMENTS.c.id)
)
_ATTACHMENT = select(POOL_ATTACHMENTS).where(_IS_ATTACHMENT)
_ADD_ATTACHMENT = insert(POOL_ATTACHMENTS)
_CHANGE_ATTACHMENT = update(POOL_ATTACHMENTS).where(_IS_ATTACHMENT)
_DROP_ATTACHMENT = delete(POOL_ATTACHMENTS).where(_IS_ATTACHMENT)


class SqlPoolRecords(PoolRecords):
    """``pool_volumes`` and ``pool_attachments``; ``host`` is who makes volumes here."""

    def __init__(self, database: Database, host: str, clock: Clock) -> None:
        self._database = database
        self._host = host
        self._clock = clock

    def volumes(self) -> tuple[PoolVolume, ...]:
        """Return every volume."""
        rows = self._database.read(lambda connection: connection.execute(_VOLUMES).all())
        return tuple(_pool_volume(row) for row in rows)

    def volume(self, volume: VolumeId) -> PoolVolume | None:
        """Return one volume."""
        which = {"which": volume}
        row = self._database.glance(lambda connection: connection.execute(_VOLUME, which).first())
        return None if row is None else _pool_volume(row)

    def put_volume(self, volume: PoolVolume) -> None:
        """Add the volume, or keep it as given; raises VolumeTaken if another has its path."""
        values = _volume_values(volume)
        origin = {"host": self._host, "created_at": self._clock.now()}

        def put(connection: SqlConnection) -> None:
            _change_or_add(connection, _CHANGE_VOLUME, _ADD_VOLUME, values, origin)

        try:
            self._database.write(put)
        except IntegrityError as error:
            message = f"{volume.path} is another volume's file"
            raise VolumeTaken(message) from error

    def drop_volume(self, volume: VolumeId) -> None:
        """Forget the volume; raises VolumeInUse while it has attachments."""

        def drop(connection: SqlConnection) -> None:
            connection.execute(_DROP_VOLUME, {"which": volume})

        try:
            self._database.write(drop)
        except IntegrityError as error:
            message = f"volume {volume} has attachments"
            raise VolumeInUse(message) from error

    def set_status(
        self, volume: VolumeId, status: VolumeStatus, *, only_from: Sequence[VolumeStatus]
    ) -> bool:
        """Change the status if it is one of ``only_from``; return whether it was."""
        which = {"which": volume, "only_from": [one.value for one in only_from]}
        change = which | {"status": status.value}
        return self._database.write(
            lambda connection: connection.execute(_CHANGE_FROM, change).rowcount > 0
        )

    def set_size(self, volume: VolumeId, size: int) -> None:
        """Keep how many bytes the volume has, and all else of it as it is."""
        change = {"which": volume, "size": size}
        self._database.write(lambda connection: connection.execute(_CHANGE_VOLUME, change))

    def attachments(self, volume: VolumeId) -> tuple[Attachment, ...]:
        """Return the attachments of a volume."""
        which = {"which": volume}
        rows = self._database.glance(
            lambda connection: connection.execute(_ATTACHMENTS, which).all()
        )
        return tuple(_attachment(row) for row in rows)

    def attachments_of(self, instance: InstanceId) -> tuple[Attachment, ...]:
        """Return the attachments to an instance."""
        which = {"instance": instance}
        rows = self._database.glance(lambda connection: connection.execute(_OF, which).all())
        return tuple(_attachment(row) for row in rows)

    def attachment(self, attachment: AttachmentId) -> Attachment | None:
        """Return one attachment."""
        which = {"which": attachment}
        row = self._database.glance(
            lambda connection: connection.execute(_ATTACHMENT, which).first()
        )
        return None if row is None else _attachment(row)

    def reserve(self, attachment: Attachment) -> None:
        """Add an attachment and mark its volume as reserved, in one transaction.

        Raises VolumeInUse unless the volume is available, or takes several attachments; a
        second attachment of one volume to one instance is refused too.
        """

        def reserve(connection: SqlConnection) -> None:
            if not connection.execute(_RESERVE, {"which": attachment.volume}).rowcount:
                message = f"volume {attachment.volume} is in use, or is no more"
                raise VolumeInUse(message)
            connection.execute(_ADD_ATTACHMENT, _attachment_values(attachment))

        try:
            self._database.write(reserve)
        except IntegrityError as error:
            message = f"volume {attachment.volume} has an attachment to that instance already"
            raise VolumeInUse(message) from error

    def put_attachment(self, attachment: Attachment, volume_status: VolumeStatus) -> None:
        """Keep the attachment as given, and the status that its volume has with it."""
        values = _attachment_values(attachment)
        status = {"which": attachment.volume, "status": volume_status.value}

        def put(connection: SqlConnection) -> None:
            connection.execute(_CHANGE_VOLUME, status)
            _change_or_add(connection, _CHANGE_ATTACHMENT, _ADD_ATTACHMENT, values)

        self._database.write(put)

    def drop_attachment(self, attachment: AttachmentId) -> None:
        """Forget the attachment; its volume is available when it was the last."""
        self._database.write(lambda connection: _drop_attachment(connection, attachment))


def _drop_attachment(connection: SqlConnection, attachment: AttachmentId) -> None:
    """Of two that are dropped at once, the volume's lock lets one be the last."""
    found = connection.execute(_ATTACHMENT, {"which": attachment}).first()
    if found is None:
        return
    which = {"which": found.volume_id}
    connection.execute(_LOCK_VOLUME, which)
    connection.execute(_DROP_ATTACHMENT, {"which": attachment})
    if connection.execute(_ATTACHMENTS, which).first() is None:
        connection.execute(_CHANGE_VOLUME, which | {"status": VolumeStatus.AVAILABLE.value})


def _change_or_add(
    connection: SqlConnection,
    change: Update,
    add: Insert,
    values: dict[str, Any],
    if_new: dict[str, Any] | None = None,
) -> None:
    if not connection.execute(change, values | {"which": values["id"]}).rowcount:
        connection.execute(add, values | (if_new or {}))


def _volume_values(volume: PoolVolume) -> dict[str, Any]:
    return {
        "id": volume.volume.id,
        "name": volume.volume.name,
        "size": volume.volume.size,
        "status": volume.volume.status.value,
        "volume_type": volume.volume.volume_type,
        "multiattach": volume.volume.multiattach,
        "encrypted": volume.volume.encrypted,
        "path": volume.path,
        "owned": volume.owned,
        "project_id": volume.volume.project_id,
        "options": dict(volume.options) or None,
    }


def _pool_volume(row: Row[Any]) -> PoolVolume:
    volume = Volume(
        id=row.id,
        size=row.size,
        status=VolumeStatus(row.status),
        name=row.name,
        volume_type=row.volume_type,
        multiattach=row.multiattach,
        encrypted=row.encrypted,
        project_id=row.project_id,
    )
    return PoolVolume(
        volume=volume,
        path=row.path,
        owned=row.owned,
        options=row.options or {},
        host=row.host,
        created_at=row.created_at,
    )


def _attachment_values(attachment: Attachment) -> dict[str, Any]:
    connection = attachment.connection
    return {
        "id": attachment.id,
        "volume_id": attachment.volume,
        "instance_uuid": attachment.instance,
        "status": attachment.status.value,
        "connection": None if connection is None else json_of(connection),
    }


def _attachment(row: Row[Any]) -> Attachment:
    return Attachment(
        id=row.id,
        volume=row.volume_id,
        instance=row.instance_uuid,
        status=AttachmentStatus(row.status),
        connection=None if row.connection is None else connection_of(row.connection),
    )
