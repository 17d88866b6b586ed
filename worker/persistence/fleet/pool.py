"""The volumes of the pool, whoever made them: those there are, and those that are being made.

What was asked for is in the journal before it is in the pool. Whoever has asked looks for it at
once, and must not be told that there is no such thing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam, exists, select

from worker.model.block_device import DeviceStatus
from worker.model.ids import AttachmentId, InstanceId, VolumeId
from worker.model.operation import OperationState, lane_of
from worker.model.volume import Volume, VolumeStatus
from worker.persistence.database import Database
from worker.persistence.schema import BLOCK_DEVICES, INSTANCES, OPERATIONS
from worker.ports import PoolReading

_LATER = OPERATIONS.alias()
_FORGOTTEN = exists().where(
    _LATER.c.method == "delete_volume",
    _LATER.c.state == OperationState.SUCCEEDED.value,
    _LATER.c.lane == OPERATIONS.c.lane,
    _LATER.c.sequence > OPERATIONS.c.sequence,
)
_UNMADE = (
    select(OPERATIONS)
    .where(
        OPERATIONS.c.method == "create_volume",
        OPERATIONS.c.state.in_(
            [state.value for state in OperationState if state is not OperationState.SUCCEEDED]
        ),
        ~_FORGOTTEN,
    )
    .order_by(OPERATIONS.c.sequence)
)
_UNMADE_ONE = _UNMADE.where(OPERATIONS.c.lane == bindparam("lane"))
_UNDER_WAY = OPERATIONS.c.state.in_([OperationState.QUEUED.value, OperationState.RUNNING.value])
_BUSY = select(OPERATIONS.c.method, OPERATIONS.c.lane).where(
    OPERATIONS.c.method.in_(["delete_volume", "grow_volume"]), _UNDER_WAY
)
_GROWING = (
    select(BLOCK_DEVICES.c.volume_id)
    .join(OPERATIONS, OPERATIONS.c.block_device_uuid == BLOCK_DEVICES.c.uuid)
    .where(OPERATIONS.c.method == "extend_volume", _UNDER_WAY, BLOCK_DEVICES.c.deleted == 0)
)
_BUSY_WITH = {"delete_volume": VolumeStatus.DELETING, "grow_volume": VolumeStatus.EXTENDING}

_HOLDERS = (
    select(
        BLOCK_DEVICES.c.volume_id,
        BLOCK_DEVICES.c.instance_uuid,
        BLOCK_DEVICES.c.attachment_id,
        BLOCK_DEVICES.c.device_name,
        INSTANCES.c.host,
    )
    .join(INSTANCES, INSTANCES.c.uuid == BLOCK_DEVICES.c.instance_uuid)
    .where(
        INSTANCES.c.deleted == 0,
        BLOCK_DEVICES.c.deleted == 0,
        BLOCK_DEVICES.c.volume_id.in_(bindparam("volumes", expanding=True)),
        BLOCK_DEVICES.c.status.not_in([DeviceStatus.RESERVED.value, DeviceStatus.ATTACHING.value]),
    )
    .order_by(BLOCK_DEVICES.c.id)
)

_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """A volume of the pool: ``host`` has its file; of those of older releases nobody knows."""

    volume: Volume
    host: str | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """An instance that has a volume, and as what."""

    volume: VolumeId
    instance: InstanceId
    host: str
    attachment: AttachmentId | None
    device_name: str


class FleetPool:
    """The pool of every host; may be shared by threads."""

    def __init__(self, database: Database, records: PoolReading) -> None:
        self._database = database
        self._records = records

    def find(self, volume: VolumeId) -> Pooled | None:
        """Return the volume, one that is being made too, or whose making has failed."""
        lane = {"lane": lane_of({"volume_id": volume})}
        # The journal first: what is made in between is then found as it was, and not missed; and
        # one that nothing is done to any more has the size that it was given.
        row = self._database.read(lambda each: each.execute(_UNMADE_ONE, lane).first())
        busy = self._busy()
        record = self._records.volume(volume)
        if record is None:
            return None if row is None else _unmade(row)
        seen = Pooled(volume=record.volume, host=record.host, created_at=record.created_at)
        return self._as_it_is_used(seen, busy)

    def volumes(self) -> tuple[Pooled, ...]:
        """Return every volume, newest first."""
        # The journal first: what is made in between is then found twice, and not missed.
        unmade = map(_unmade, self._database.read(lambda each: each.execute(_UNMADE).all()))
        busy = self._busy()
        found = {seen.volume.id: seen for seen in unmade}
        for record in self._records.volumes():
            seen = Pooled(volume=record.volume, host=record.host, created_at=record.created_at)
            found[record.volume.id] = self._as_it_is_used(seen, busy)
        return tuple(sorted(found.values(), key=_age, reverse=True))

    def holders(self, volumes: Iterable[VolumeId]) -> tuple[Holder, ...]:
        """Return who has any of the volumes, oldest first."""
        which = {"volumes": list(volumes)}
        rows = self._database.read(lambda each: each.execute(_HOLDERS, which).all())
        return tuple(
            Holder(
                volume=row.volume_id,
                instance=row.instance_uuid,
                host=row.host,
                attachment=row.attachment_id,
                device_name=row.device_name,
            )
            for row in rows
        )

    def _busy(self) -> Mapping[str, VolumeStatus]:
        asked, attached = self._database.read(
            lambda each: (each.execute(_BUSY).all(), each.execute(_GROWING).all())
        )
        growing = {
            lane_of({"volume_id": row.volume_id}): VolumeStatus.EXTENDING for row in attached
        }
        return growing | {row.lane: _BUSY_WITH[row.method] for row in asked}

    @staticmethod
    def _as_it_is_used(seen: Pooled, busy: Mapping[str, VolumeStatus]) -> Pooled:
        status = busy.get(lane_of({"volume_id": seen.volume.id}))
        grows = status is VolumeStatus.EXTENDING and seen.volume.status is VolumeStatus.IN_USE
        if status is None or not (grows or seen.volume.status is VolumeStatus.AVAILABLE):
            return seen
        return replace(seen, volume=replace(seen.volume, status=status))


def _age(seen: Pooled) -> tuple[datetime, str]:
    return seen.created_at or _BEFORE_ALL, seen.volume.id


def _unmade(row: Any) -> Pooled:  # noqa: ANN401 - a row of the journal
    """Return the volume as it was asked for."""
    asked, ended = row.arguments, OperationState(row.state).ended
    volume = Volume(
        id=VolumeId(asked["volume_id"]),
        size=asked.get("size") or 0,
        status=VolumeStatus.ERROR if ended else VolumeStatus.CREATING,
        name=asked.get("name", ""),
        multiattach=asked.get("multiattach", False),
        encrypted=asked.get("encrypted", False),
        project_id=asked.get("project_id"),
    )
    return Pooled(volume=volume, host=row.host, created_at=row.accepted_at)
