"""Each write of a row of ``block_device_mapping``, and what it means that one is refused."""

from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import bindparam, insert, update
from sqlalchemy.exc import IntegrityError

from worker.errors import (
    AddressTaken,
    Conflict,
    DeviceNameTaken,
    DeviceWrongState,
    IdTaken,
    TagTaken,
    VolumeAlreadyAttached,
)
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.persistence.prepared import Change
from worker.persistence.records.block_device_row import row_values
from worker.persistence.schema import BLOCK_DEVICES as TABLE
from worker.persistence.unit_of_work import Write

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


def adding(device: BlockDevice, now: datetime) -> Write:
    """Return the write that adds a row, as a Conflict if a constraint refuses it."""
    values = row_values(device) | {"created_at": now, "updated_at": now}
    return partial(_add, device, values)


def _add(device: BlockDevice, values: dict[str, Any], connection: SqlConnection) -> None:
    try:
        _INSERT.run(connection, values)
    except IntegrityError as error:
        raise refusal_of(device, error) from error


def amend(device: BlockDevice, values: dict[str, Any], connection: SqlConnection) -> None:
    """Write the columns; raises DeviceWrongState for a row that is removed."""
    if not save(device, values, connection):
        message = f"block device {device.uuid} is not there any more"
        raise DeviceWrongState(message)


def save(device: BlockDevice, values: dict[str, Any], connection: SqlConnection) -> bool:
    """Write the columns of a live row; return whether there is one."""
    try:
        return bool(_SAVE.run(connection, values))
    except IntegrityError as error:
        raise refusal_of(device, error) from error


def move(values: dict[str, Any], connection: SqlConnection) -> None:
    """Change the status; raises DeviceWrongState unless it is as it was seen."""
    if not _MOVE.run(connection, values):
        message = f"block device {values['which']} is not {values['seen']} any more"
        raise DeviceWrongState(message)


def remove(which: dict[str, Any], connection: SqlConnection) -> None:
    """Delete the row, softly; one that is gone is fine."""
    _REMOVE.run(connection, which)


def release(which: dict[str, Any], connection: SqlConnection) -> None:
    """Delete a row that is only reserved; raises DeviceWrongState for any other."""
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
