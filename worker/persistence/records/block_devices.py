"""The rows of ``block_device_mapping``."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import bindparam, or_, select

from worker.errors import (
    BlockDeviceNotFound,
    Conflict,
    DeviceWrongState,
    IdTaken,
)
from worker.model.block_device import (
    LEGAL_MOVES,
    BlockDevice,
    DeviceStatus,
)
from worker.model.ids import AttachmentId, BlockDeviceId, InstanceId
from worker.model.update import Update
from worker.persistence.prepared import Query
from worker.persistence.records.block_device_row import changing_values, device_of
from worker.persistence.records.block_device_writes import (
    adding,
    amend,
    move,
    release,
    remove,
    save,
)
from worker.persistence.records.connected_rows import CONNECTED
from worker.persistence.records.sharing_places import no_peripheral_at
from worker.persistence.records.uuids import LACKS_MARKS, rows_of
from worker.persistence.schema import BLOCK_DEVICES as TABLE
from worker.persistence.schema import INSTANCES
from worker.persistence.unit_of_work import UnitOfWork
from worker.ports import BlockDevices

_LOOK = Query(select(TABLE).where(TABLE.c.uuid == bindparam("which")))
_OF_INSTANCE = Query(
    select(TABLE).where(TABLE.c.instance_uuid == bindparam("instance"), TABLE.c.deleted == 0)
)
_BEARING = Query(
    select(TABLE)
    .where(
        TABLE.c.instance_uuid == bindparam("instance"),
        or_(TABLE.c.alias == bindparam("alias"), LACKS_MARKS),
    )
    .order_by((TABLE.c.deleted == 0).desc(), TABLE.c.id.desc())
)
_HOLDING = Query(
    select(TABLE)
    .where(TABLE.c.attachment_id == bindparam("attachment"))
    .order_by((TABLE.c.deleted == 0).desc(), TABLE.c.id.desc())
)
_OF_HOST = (
    select(TABLE)
    .join(INSTANCES, INSTANCES.c.uuid == TABLE.c.instance_uuid)
    .where(
        INSTANCES.c.host == bindparam("worker"),
        INSTANCES.c.deleted == 0,
        TABLE.c.deleted == 0,
    )
    .order_by(TABLE.c.id)
)
_RESERVED = Query(
    _OF_HOST.where(
        TABLE.c.status == DeviceStatus.RESERVED.value,
        TABLE.c.created_at < bindparam("moment"),
    )
)
_MISSING = Query(_OF_HOST.where(TABLE.c.status == DeviceStatus.MISSING.value))
_CALLED = Query(_OF_HOST.where(TABLE.c.wwid == bindparam("wwid")))


class SqlBlockDevices(BlockDevices):
    """``block_device_mapping``, for one request."""

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit
        self._seen: dict[BlockDeviceId, BlockDevice] = {}

    def get(self, uuid: BlockDeviceId) -> BlockDevice:
        """Return the row, removed ones included; raises BlockDeviceNotFound."""
        device = self.look(uuid)
        if device is None:
            message = f"no block device {uuid}"
            raise BlockDeviceNotFound(message)
        return device

    def look(self, uuid: BlockDeviceId) -> BlockDevice | None:
        """Return the row, removed ones included, or None."""
        return _first(self._all(_LOOK, which=uuid))

    def of_instance(self, instance: InstanceId) -> tuple[BlockDevice, ...]:
        """Return the live rows of an instance, by device name: vdz comes before vdaa."""
        found = self._all(_OF_INSTANCE, instance=instance)
        return tuple(sorted(found, key=lambda one: (len(one.device_name), one.device_name)))

    def bearing(self, instance: InstanceId, alias: str) -> BlockDevice | None:
        """Return the row that gave a disk of the instance its alias: the live one, or the last."""
        return _first(self._all(_BEARING, instance=instance, alias=alias))

    def holding(self, attachment: AttachmentId) -> BlockDevice | None:
        """Return the row that has the attachment: the live one, or the last removed."""
        return _first(self._all(_HOLDING, attachment=attachment))

    def reserved_before(self, moment: datetime) -> tuple[BlockDevice, ...]:
        """Return the rows of this host's instances that are only reserved, since before then."""
        return tuple(self._all(_RESERVED, worker=self._unit.host, moment=moment))

    def missing(self) -> tuple[BlockDevice, ...]:
        """Return the rows of this host's instances whose volume is missing."""
        return tuple(self._all(_MISSING, worker=self._unit.host))

    def called(self, wwid: str) -> tuple[BlockDevice, ...]:
        """Return the live rows of this host's instances whose volume's device says it is that."""
        return tuple(self._all(_CALLED, worker=self._unit.host, wwid=wwid))

    def connected(self) -> tuple[BlockDevice, ...]:
        """Return the rows that say how this host reaches their volume, or did, oldest first."""
        return tuple(self._all(CONNECTED, survey=True, worker=self._unit.host))

    def insert(self, device: BlockDevice, tell: Update) -> None:
        """Add a row and tell it, at once."""
        add = adding(device, self._unit.clock.now())
        try:
            self._unit.commit(
                add, self._unit.telling(tell), no_peripheral_at(device.instance, device.address)
            )
        except Conflict as error:
            # Databases check keys in an order of their own; that of the id tells a repetition.
            if self.look(device.uuid) is not None:
                raise IdTaken(f"block device id {device.uuid} was used before") from error
            raise

    def amend(self, device: BlockDevice) -> None:
        """Keep the row as given, at once, if it is still live."""
        values = self._changed(device)
        self._unit.commit(partial(amend, device, values))
        self._seen[device.uuid] = device

    def release(self, device: BlockDevice, tell: Update) -> None:
        """Delete the row and tell it, at once, if it is still reserved."""
        which = {"which": device.uuid, "at": self._unit.clock.now()}
        self._unit.commit(partial(release, which), self._unit.telling(tell))

    def move(self, device: BlockDevice, status: DeviceStatus) -> BlockDevice:
        """Change the status, at once, if it is still ``device.status``."""
        if status not in LEGAL_MOVES[device.status]:
            message = f"block device {device.uuid} cannot go from {device.status} to {status}"
            raise DeviceWrongState(message)
        now = self._unit.clock.now()
        which = {"which": device.uuid, "seen": device.status.value}
        change = {"status": status.value, "updated_at": now}
        self._unit.commit(partial(move, which | change))
        moved = replace(device, status=status, updated_at=now)
        if self._seen.pop(device.uuid, None) == device:
            self._seen[device.uuid] = moved
        return moved

    def save(self, device: BlockDevice) -> None:
        """Keep the row as given, with the next commit; a removed row stays as it was.

        Only what differs from how this request has seen it is written: what another one has changed
        meanwhile stays, and so do the keys that lie in an index.
        """
        values = self._changed(device)
        self._unit.append(partial(self._save, device, values), TABLE)
        self._seen[device.uuid] = device

    def remove(self, device: BlockDevice) -> None:
        """Delete the row, with the next commit; one that is gone is fine."""
        which = {"which": device.uuid, "at": self._unit.clock.now()}
        self._unit.append(partial(remove, which), TABLE)

    def _all(self, query: Query, **values: Any) -> Sequence[BlockDevice]:  # noqa: ANN401
        found = [device_of(row) for row in rows_of(self._unit, query, **values)]
        self._seen.update((device.uuid, device) for device in found)
        return found

    def _changed(self, device: BlockDevice) -> dict[str, Any]:
        seen, values = self._seen.get(device.uuid), changing_values(device)
        if seen is not None:
            before = changing_values(seen)
            values = {name: value for name, value in values.items() if value != before[name]}
        return values | {"which": device.uuid, "updated_at": self._unit.clock.now()}

    def _save(self, device: BlockDevice, values: dict[str, Any], connection: SqlConnection) -> None:
        try:
            save(device, values, connection)
        except Exception:
            # It waits no more: what it was to change is to be written by the next one.
            self._seen.pop(device.uuid, None)
            raise


def _first(found: Sequence[BlockDevice]) -> BlockDevice | None:
    return found[0] if found else None
