"""The rows of ``peripherals``."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, assert_never

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from worker.errors import AddressTaken, Conflict, DeviceWrongState, IdTaken, PeripheralTaken
from worker.model.block_device import LEGAL_MOVES, DeviceStatus
from worker.model.host_device import HostDevice
from worker.model.ids import InstanceId, PeripheralId
from worker.model.peripheral import Peripheral, Plugged
from worker.model.specification import Interface
from worker.persistence.prepared import Change, Query
from worker.persistence.records.peripheral_row import peripheral_of
from worker.persistence.records.sharing_places import locking, no_disk_at
from worker.persistence.schema import PERIPHERALS as TABLE
from worker.persistence.unit_of_work import UnitOfWork, Write
from worker.ports import Peripherals

REFUSALS: tuple[tuple[str, str, type[Conflict], str], ...] = (
    ("uq_peripherals_uuid", ".uuid", IdTaken, "id {0.uuid} was used before"),
    ("uq_peripherals_port", ".port_id", PeripheralTaken, "{0.what} is on {0.instance} already"),
    ("uq_peripherals_alias", ".alias", PeripheralTaken, "alias {0.alias} is borne already"),
    (
        "uq_peripherals_host_device",
        ".host_device",
        PeripheralTaken,
        "host device {0.what} is an instance's already",
    ),
    ("uq_peripherals_address", ".address", AddressTaken, "address {0.address} is taken"),
)
"""Each key: its name, as servers report it; the column by which SQLite does; what it means."""

_IS_LIVE = (TABLE.c.uuid == bindparam("which"), TABLE.c.deleted == 0)
_LOOK = Query(select(TABLE).where(TABLE.c.uuid == bindparam("which")))
_OF_INSTANCE = Query(
    select(TABLE)
    .where(TABLE.c.instance_uuid == bindparam("instance"), TABLE.c.deleted == 0)
    .order_by(TABLE.c.id)
)
_BEARING = Query(
    select(TABLE)
    .where(TABLE.c.instance_uuid == bindparam("instance"), TABLE.c.alias == bindparam("alias"))
    .order_by((TABLE.c.deleted == 0).desc(), TABLE.c.id.desc())
)
_HAVING = Query(
    select(TABLE).where(
        TABLE.c.host == bindparam("worker"),
        TABLE.c.host_device == bindparam("device"),
        TABLE.c.deleted == 0,
    )
)
_INSERT = Change(insert(TABLE))
_SAVE = Change(update(TABLE).where(*_IS_LIVE))
_MOVE = Change(update(TABLE).where(*_IS_LIVE, TABLE.c.status == bindparam("seen")))
_REVIVE = Change(
    update(TABLE).where(
        TABLE.c.uuid == bindparam("which"), TABLE.c.instance_uuid == bindparam("whose")
    )
)
_REMOVE = Change(
    update(TABLE)
    .where(*_IS_LIVE)
    .values(deleted=TABLE.c.id, deleted_at=bindparam("at"), updated_at=bindparam("at"))
)


class SqlPeripherals(Peripherals):
    """``peripherals``, for one request."""

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit

    def of_instance(self, instance: InstanceId) -> tuple[Peripheral, ...]:
        """Return the live rows of an instance, oldest first."""
        return tuple(peripheral_of(row) for row in self._all(_OF_INSTANCE, instance=instance))

    def look(self, uuid: PeripheralId) -> Peripheral | None:
        """Return the row, removed ones included, or None."""
        return _first(self._all(_LOOK, which=uuid))

    def bearing(self, instance: InstanceId, alias: str) -> Peripheral | None:
        """Return the row that gave a device of the instance its alias: the live one, or the last.

        None for an alias that is a disk's, or nobody's.
        """
        return _first(self._all(_BEARING, instance=instance, alias=alias))

    def having(self, device: HostDevice) -> Peripheral | None:
        """Return the live row, of whatever instance of this host, that has the host device."""
        return _first(self._all(_HAVING, worker=self._unit.host, device=str(device)))

    def insert(self, peripheral: Peripheral) -> None:
        """Add a row, at once."""
        add = adding(peripheral, self._unit.host, self._unit.clock.now())
        free = no_disk_at(peripheral.instance, peripheral.address)
        try:
            self._unit.commit(locking(peripheral.instance), add, free)
        except Conflict as error:
            # Databases check keys in an order of their own; that of the id tells a repetition.
            if self.look(peripheral.uuid) is not None:
                raise IdTaken(f"id {peripheral.uuid} was used before") from error
            raise

    def move(self, peripheral: Peripheral, status: DeviceStatus) -> Peripheral:
        """Change the status, at once, if it is still ``peripheral.status``."""
        if status not in LEGAL_MOVES[peripheral.status]:
            message = f"{peripheral.alias} cannot go from {peripheral.status} to {status}"
            raise DeviceWrongState(message)
        now = self._unit.clock.now()
        which = {"which": peripheral.uuid, "seen": peripheral.status.value}
        change = {"status": status.value, "updated_at": now}
        self._unit.commit(partial(_move, which | change))
        return replace(peripheral, status=status, updated_at=now)

    def save(self, peripheral: Peripheral) -> None:
        """Keep the row as given, with the next commit; a removed row stays as it was."""
        now = {"which": peripheral.uuid, "updated_at": self._unit.clock.now()}
        self._unit.append(partial(_save, peripheral, _values(peripheral) | now), TABLE)

    def remove(self, peripheral: Peripheral) -> None:
        """Delete the row, with the next commit; one that is gone is fine."""
        which = {"which": peripheral.uuid, "at": self._unit.clock.now()}
        self._unit.append(partial(_remove, which), TABLE)

    def _all(self, query: Query, **values: Any) -> Sequence[Any]:  # noqa: ANN401
        return self._unit.read(partial(query.all, **values))


def adding(peripheral: Peripheral, host: str, now: datetime) -> Write:
    """Return the write that adds a row, as a Conflict if a constraint refuses it."""
    values = row_values(peripheral, host) | {"created_at": now, "updated_at": now}
    return partial(_add, peripheral, values)


def bringing(peripheral: Peripheral, host: str, now: datetime) -> Write:
    """Return the write that makes a row of an instance as given, removed or of another host."""
    times = {"created_at": now, "updated_at": now, "deleted_at": None}
    return partial(_bring, peripheral, row_values(peripheral, host) | times)


def row_values(peripheral: Peripheral, host: str) -> dict[str, Any]:
    """Return the columns of a live row, but for its times."""
    identity = {"uuid": peripheral.uuid, "instance_uuid": peripheral.instance, "host": host}
    return identity | {"deleted": 0} | _values(peripheral)


def refusal_of(peripheral: Peripheral, error: IntegrityError) -> Exception:
    """Return what it means that the database refused the row."""
    said = str(error.orig)
    for key, column, refusal, message in REFUSALS:
        if key in said or f"{TABLE.name}{column}" in said:
            return refusal(message.format(peripheral))
    return error


def _bring(peripheral: Peripheral, values: dict[str, Any], connection: SqlConnection) -> None:
    which = {"which": peripheral.uuid, "whose": peripheral.instance}
    changed = {name: value for name, value in values.items() if name != "created_at"}
    try:
        if not _REVIVE.run(connection, {**changed, **which}):
            _INSERT.run(connection, values)
    except IntegrityError as error:
        raise refusal_of(peripheral, error) from error


def _add(peripheral: Peripheral, values: dict[str, Any], connection: SqlConnection) -> None:
    try:
        _INSERT.run(connection, values)
    except IntegrityError as error:
        raise refusal_of(peripheral, error) from error


def _save(peripheral: Peripheral, values: dict[str, Any], connection: SqlConnection) -> None:
    try:
        _SAVE.run(connection, values)
    except IntegrityError as error:
        raise refusal_of(peripheral, error) from error


def _move(values: dict[str, Any], connection: SqlConnection) -> None:
    if not _MOVE.run(connection, values):
        message = f"peripheral {values['which']} is not {values['seen']} any more"
        raise DeviceWrongState(message)


def _remove(which: dict[str, Any], connection: SqlConnection) -> None:
    _REMOVE.run(connection, which)


def _values(peripheral: Peripheral) -> dict[str, Any]:
    address = peripheral.address
    return {
        "kind": peripheral.kind.value,
        **_what(peripheral.what),
        "alias": peripheral.alias,
        "former": peripheral.former,
        "address": None if address is None else str(address),
        "status": peripheral.status.value,
    }


def _what(what: Plugged) -> dict[str, str | None]:
    nothing = dict.fromkeys(("port_id", "mac_address", "network", "target", "model", "host_device"))
    match what:
        case Interface():
            return nothing | {
                "port_id": what.port,
                "mac_address": what.mac,
                "network": what.kind.value,
                "target": what.target,
                "model": what.model,
            }
        case HostDevice():
            return nothing | {"host_device": str(what)}
        case _:
            assert_never(what)


def _first(rows: Sequence[Any]) -> Peripheral | None:
    return peripheral_of(rows[0]) if rows else None
