"""Rows that an older release wrote without a uuid: each gets one, once, whoever comes first.

Two that come at the same moment compare and swap; both read what is in the row afterwards, so
that nobody ever sees another uuid than the one that stays.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import bindparam, func, or_, select, update

from worker.model.block_device import DeviceType
from worker.model.identity.alias import PREFIX, alias_of
from worker.model.identity.serials import given_serial
from worker.model.ids import is_uuid, new_uuid
from worker.persistence.database import Database
from worker.persistence.prepared import Change, Query
from worker.persistence.schema import BLOCK_DEVICES as TABLE
from worker.persistence.unit_of_work import UnitOfWork

AT_ONCE = 100
"""Rows a transaction: while one is open, whoever reads these rows for the first time waits."""

LACKS_MARKS = or_(TABLE.c.uuid.is_(None), TABLE.c.alias.is_(None))
"""For a query that looks for a mark which such a row would have, had it been read before."""

_EMPTY = TABLE.c.uuid.is_(None)
_IS_IT = TABLE.c.id == bindparam("which")
_GIVE = Change(update(TABLE).where(_IS_IT, _EMPTY).values(uuid=bindparam("drawn")))
_LOOK = Query(select(TABLE).where(_IS_IT))
_MARK = Change(
    update(TABLE)
    .where(_IS_IT)
    .values(
        alias=func.coalesce(TABLE.c.alias, bindparam("derived_alias")),
        serial=func.coalesce(TABLE.c.serial, bindparam("derived_serial")),
    )
)
_OTHERS = Query(
    select(TABLE.c.alias, TABLE.c.serial).where(
        TABLE.c.instance_uuid == bindparam("instance"),
        TABLE.c.deleted == 0,
        TABLE.c.id != bindparam("which"),
    )
)
_RESTORE = Change(update(TABLE).where(_IS_IT).values(uuid=bindparam("lost")))
_BEARER = Query(select(TABLE.c.id).where(TABLE.c.uuid == bindparam("uuid")))
_COUNT = select(func.count()).where(_EMPTY)
_SOME = select(TABLE.c.id).where(_EMPTY).order_by(TABLE.c.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Populated:
    """How many rows had no uuid at first, got theirs here, and have none still."""

    found: int
    done: int
    left: int


def rows_of(
    unit: UnitOfWork,
    query: Query,
    *,
    survey: bool = False,
    **values: Any,  # noqa: ANN401
) -> Sequence[Any]:
    """Return the whole rows that the query finds, each with uuid and alias.

    ``survey`` is for one that goes through much.

    The one way to read this table. A row that lacks them gets them in a transaction of its own,
    and all are read again: another reader's uuid may have won.
    """
    look = partial(query.all, **values)
    ask = unit.survey if survey else unit.read
    rows = ask(look)
    while lacking := [row.id for row in rows if row.uuid is None or row.alias is None]:
        unit.database.write(partial(_give_all, lacking))
        rows = ask(look)
    return rows


def count_empty(connection: SqlConnection) -> int:
    """Return how many rows have no uuid, removed ones included."""
    return int(connection.execute(_COUNT).scalar_one())


def populate(
    database: Database, *, at_most: int | None = None, tell: Callable[[int, int], None]
) -> Populated:
    """Give rows without a uuid theirs, removed ones included; may be stopped and run again.

    Ends when none is left, or ``at_most`` were given. ``tell`` hears after each transaction how
    many were given, and how many were found at first. Raises DatabaseUnavailable.
    """
    found, done = database.read(count_empty), 0
    while ids := database.read(partial(_some, AT_ONCE if at_most is None else at_most - done)):
        done += database.write(partial(_give_all, ids))
        tell(done, found)
    return Populated(found=found, done=done, left=database.read(count_empty))


def _some(wanted: int, connection: SqlConnection) -> list[int]:
    return list(connection.execute(_SOME.limit(min(wanted, AT_ONCE))).scalars())


def _give_all(ids: Sequence[int], connection: SqlConnection) -> int:
    """Lock the rows in one order, so that two who do this wait for each other and do not lock."""
    return sum(_give(which, connection) for which in sorted(ids))


def _give(which: int, connection: SqlConnection) -> int:
    given = _GIVE.run(connection, {"which": which, "drawn": new_uuid()})
    row = _LOOK.first(connection, which=which)
    if given and row is not None:
        _restore(row, connection)
    if row is not None and None in (row.alias, row.serial):
        others = _OTHERS.all(connection, instance=row.instance_uuid, which=which)
        _MARK.run(connection, {"which": which, **_marks(row, [] if row.deleted else others)})
    return given


def _restore(row: Any, connection: SqlConnection) -> None:  # noqa: ANN401 - of the table
    """A local disk's marks are its row's uuid, and its file is named by it: it gets it back.

    Only once the row is ours: a transaction that reads before it writes may lose all it did.
    """
    lost = (row.alias or "").removeprefix(PREFIX)
    named = row.alias == alias_of(lost) and row.serial in (None, lost)
    if row.volume_id is not None or not named or not is_uuid(lost):
        return
    if _BEARER.first(connection, uuid=lost) is None:
        _RESTORE.run(connection, {"which": row.id, "lost": lost})


def _marks(row: Any, others: Sequence[Any]) -> dict[str, str | None]:  # noqa: ANN401
    """Derive what a reservation chooses: what a live row has already gives way to the uuid."""
    alias, serial = alias_of(row.volume_id), row.volume_id
    if row.volume_id is None or alias in {other.alias for other in others}:
        alias = alias_of(row.uuid)
    if row.volume_id is None or serial in {other.serial for other in others}:
        serial = row.uuid
    kind = DeviceType(row.device_type or DeviceType.DISK)
    return {"derived_alias": alias, "derived_serial": given_serial(serial, kind)}
