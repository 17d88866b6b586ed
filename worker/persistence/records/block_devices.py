"""The rows of ``block_device_mapping``."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import bindparam, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from worker.errors import (
    AddressTaken,
    BlockDeviceNotFound,
    Conflict,
    DeviceNameTaken,
    DeviceWrongState,
    IdTaken,
    TagTaken,
    VolumeAlreadyAttached,
)
from worker.model.block_device import (
    LEGAL_MOVES,
    BlockDevice,
    DeviceStatus,
)
from worker.model.ids import AttachmentId, BlockDeviceId, InstanceId
from worker.model.update import Update
from worker.persistence.prepared import Change, Query
from worker.persistence.records.block_device_row import changing_values, device_of, row_values
from worker.persistence.records.connected_rows import CONNECTED
from worker.persistence.records.sharing_places import no_peripheral_at
from worker.persistence.records.uuids import LACKS_MARKS, rows_of
from worker.persistence.schema import BLOCK_DEVICES as TABLE
from worker.persistence.schema import INSTANCES
from worker.persistence.unit_of_work import UnitOfWork, Write
from worker.ports import BlockDevices

REFUSALS: tuple[tuple[str, str, type[Conflict], str], ...] = (
    ("uq_bdm_uuid", ".uuid", IdTaken, "block device id {0.uuid} was used before"),
    (
        "uq_bdm_volume",
        ".volume_id",
        VolumeAlreadyAttached,
        "volume {0.volume} is on instance {0.instance} already",
    ),
    ("uq_bdm_name", ".device_name", DeviceNameTaken, "device name {0.device_name} is taken"),
    ("uq_bdm_unit", ".unit", AddressTaken, "unit {0.unit} of bus {0.bus} is taken"),
    ("uq_bdm_tag", ".tag", TagTaken, "another disk of the instance bears tag {0.tag!r}"),
    ("uq_bdm_address", ".address", AddressTaken, "address {0.address} is taken"),
)
"""Each key: its name, as servers report it; the column by which SQLite does; what it means."""

_IS_LIVE = (TABLE.c.uuid == bindparam("which"), TABLE.c.deleted == 0)
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
_INSERT = Change(insert(TABLE))
_SAVE = Change(update(TABLE).where(*_IS_LIVE))
_MOVE = Change(update(TABLE).where(*_IS_LIVE, TABLE.c.status == bindparam("seen")))
_REMOVING = (
    update(TABLE)
    .where(*_IS_LIVE)
    .values(deleted=TABLE.c.id, deleted_at=bindparam("at"), updated_at=bindparam("at"))
)
_REMOVE = Change(_REMOVING)
_RELEASE = Change(_REMOVING.where(TABLE.c.status == DeviceStatus.RESERVED.value))


class SqlBlockDevices(BlockDevices):
    """``block_device_mapping``, for one request."""

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit

    def get(self, uuid: BlockDeviceId) -> BlockDevice:
        """Return the row, removed ones included; raises BlockDeviceNotFound."""
        device = self.look(uuid)
        if device is None:
            message = f"no block device {uuid}"
            raise BlockDeviceNotFound(message)
        return device

    def look(self, uuid: BlockDeviceId) -> BlockDevice | None:
        """Return the row, removed ones included, or None."""
        return _first(rows_of(self._unit, _LOOK, which=uuid))

    def of_instance(self, instance: InstanceId) -> tuple[BlockDevice, ...]:
        """Return the live rows of an instance, by device name: vdz comes before vdaa."""
        found = (device_of(row) for row in rows_of(self._unit, _OF_INSTANCE, instance=instance))
        return tuple(sorted(found, key=lambda one: (len(one.device_name), one.device_name)))

    def bearing(self, instance: InstanceId, alias: str) -> BlockDevice | None:
        """Return the row that gave a disk of the instance its alias: the live one, or the last."""
        return _first(rows_of(self._unit, _BEARING, instance=instance, alias=alias))

    def holding(self, attachment: AttachmentId) -> BlockDevice | None:
        """Return the row that has the attachment: the live one, or the last removed."""
        return _first(rows_of(self._unit, _HOLDING, attachment=attachment))

    def reserved_before(self, moment: datetime) -> tuple[BlockDevice, ...]:
        """Return the rows of this host's instances that are only reserved, since before then."""
        rows = rows_of(self._unit, _RESERVED, worker=self._unit.host, moment=moment)
        return tuple(device_of(row) for row in rows)

    def missing(self) -> tuple[BlockDevice, ...]:
        """Return the rows of this host's instances whose volume is missing."""
        rows = rows_of(self._unit, _MISSING, worker=self._unit.host)
        return tuple(device_of(row) for row in rows)

    def called(self, wwid: str) -> tuple[BlockDevice, ...]:
        """Return the live rows of this host's instances whose volume's device says it is that."""
        rows = rows_of(self._unit, _CALLED, worker=self._unit.host, wwid=wwid)
        return tuple(device_of(row) for row in rows)

    def connected(self) -> tuple[BlockDevice, ...]:
        """Return the rows that say how this host reaches their volume, or did, oldest first."""
        rows = rows_of(self._unit, CONNECTED, worker=self._unit.host)
        return tuple(device_of(row) for row in rows)

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
        self._unit.commit(partial(_amend, device, values))

    def release(self, device: BlockDevice, tell: Update) -> None:
        """Delete the row and tell it, at once, if it is still reserved."""
        which = {"which": device.uuid, "at": self._unit.clock.now()}
        self._unit.commit(partial(_release, which), self._unit.telling(tell))

    def move(self, device: BlockDevice, status: DeviceStatus) -> BlockDevice:
        """Change the status, at once, if it is still ``device.status``."""
        if status not in LEGAL_MOVES[device.status]:
            message = f"block device {device.uuid} cannot go from {device.status} to {status}"
            raise DeviceWrongState(message)
        now = self._unit.clock.now()
        which = {"which": device.uuid, "seen": device.status.value}
        change = {"status": status.value, "updated_at": now}
        self._unit.commit(partial(_move, which | change))
        return replace(device, status=status, updated_at=now)

    def save(self, device: BlockDevice) -> None:
        """Keep the row as given, with the next commit; a removed row stays as it was."""
        values = self._changed(device)
        self._unit.append(partial(_save, device, values))

    def remove(self, device: BlockDevice) -> None:
        """Delete the row, with the next commit; one that is gone is fine."""
        which = {"which": device.uuid, "at": self._unit.clock.now()}
        self._unit.append(partial(_remove, which))

    def _changed(self, device: BlockDevice) -> dict[str, Any]:
        return changing_values(device) | {
            "which": device.uuid,
            "updated_at": self._unit.clock.now(),
        }


def adding(device: BlockDevice, now: datetime) -> Write:
    """Return the write that adds a row, as a Conflict if a constraint refuses it."""
    values = row_values(device) | {"created_at": now, "updated_at": now}
    return partial(_add, device, values)


def _add(device: BlockDevice, values: dict[str, Any], connection: SqlConnection) -> None:
    try:
        _INSERT.run(connection, values)
    except IntegrityError as error:
        raise refusal_of(device, error) from error


def _save(device: BlockDevice, values: dict[str, Any], connection: SqlConnection) -> None:
    _saved(device, values, connection)


def _amend(device: BlockDevice, values: dict[str, Any], connection: SqlConnection) -> None:
    if not _saved(device, values, connection):
        message = f"block device {device.uuid} is not there any more"
        raise DeviceWrongState(message)


def _saved(device: BlockDevice, values: dict[str, Any], connection: SqlConnection) -> bool:
    try:
        return bool(_SAVE.run(connection, values))
    except IntegrityError as error:
        raise refusal_of(device, error) from error


def _move(values: dict[str, Any], connection: SqlConnection) -> None:
    if not _MOVE.run(connection, values):
        message = f"block device {values['which']} is not {values['seen']} any more"
        raise DeviceWrongState(message)


def _remove(which: dict[str, Any], connection: SqlConnection) -> None:
    _REMOVE.run(connection, which)


def _release(which: dict[str, Any], connection: SqlConnection) -> None:
    if not _RELEASE.run(connection, which):
        message = f"block device {which['which']} is not reserved any more"
        raise DeviceWrongState(message)


def refusal_of(device: BlockDevice, error: IntegrityError) -> Exception:
    """Return what it means that the database refused the row."""
    said = str(error.orig)
    for key, column, refusal, message in REFUSALS:
        if key in said or f"{TABLE.name}{column}" in said:
            return refusal(message.format(device))
    return error


def _first(rows: Sequence[Any]) -> BlockDevice | None:
    return device_of(rows[0]) if rows else None
