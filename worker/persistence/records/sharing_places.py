"""One live device of an instance at an address, whichever of the two tables has its row.

No constraint reaches over two tables. Who adds a row holds the lock of its instance's row from
before it looks into the other table until its commit: of two, one sees the other's row
(docs/adr/0020).
"""

from functools import partial

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import Table, bindparam, select, update

from worker.errors import AddressTaken
from worker.model.ids import InstanceId
from worker.model.places.address import Address
from worker.persistence.prepared import Change, Query
from worker.persistence.schema import BLOCK_DEVICES, INSTANCES, PERIPHERALS
from worker.persistence.unit_of_work import Write


def _at(table: Table) -> Query:
    return Query(
        select(table.c.id).where(
            table.c.instance_uuid == bindparam("instance"),
            table.c.address == bindparam("address"),
            table.c.deleted == 0,
        )
    )


_DISK_AT = _at(BLOCK_DEVICES)
_PERIPHERAL_AT = _at(PERIPHERALS)
_LOCK = Change(
    update(INSTANCES)
    .where(INSTANCES.c.uuid == bindparam("instance"), INSTANCES.c.deleted == 0)
    .values(update_sequence=INSTANCES.c.update_sequence)
)


def locking(instance: InstanceId) -> Write:
    """Return the write that changes nothing, and has all others on the instance wait."""
    return partial(_lock, {"instance": instance})


def no_disk_at(instance: InstanceId, address: Address | None) -> Write:
    """Return the write that raises AddressTaken when a disk is there; after the lock."""
    return partial(_check, _DISK_AT, instance, address)


def no_peripheral_at(instance: InstanceId, address: Address | None) -> Write:
    """Return the write that raises AddressTaken when a peripheral is there; after the lock."""
    return partial(_check, _PERIPHERAL_AT, instance, address)


def _lock(which: dict[str, str], connection: SqlConnection) -> None:
    _LOCK.run(connection, which)


def _check(
    query: Query, instance: InstanceId, address: Address | None, connection: SqlConnection
) -> None:
    place = None if address is None else str(address)
    if place is not None and query.first(connection, instance=instance, address=place) is not None:
        message = f"address {place} is taken"
        raise AddressTaken(message)
