"""Rows as an older release wrote them: without uuid, alias, serial and address."""

import itertools
from typing import Any

from sqlalchemy import Engine, insert, select

from tests.contract.persistence.scenes import START
from worker.model.ids import new_uuid
from worker.persistence.schema import BLOCK_DEVICES

NUMBERS = itertools.count(1)


def an_old_row(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - of any column
    """Return the columns of one that collides with no other."""
    number = next(NUMBERS)
    given = {
        "instance_uuid": new_uuid(),
        "volume_id": new_uuid(),
        "attachment_id": new_uuid(),
        "device_name": f"/dev/old-{number}",
        "disk_bus": "virtio",
        "device_type": "disk",
        "status": "reserved",
        "created_at": START,
        "updated_at": START,
        "deleted": 0,
    }
    return given | fields


def a_removed_row(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - of any column
    return an_old_row(deleted=next(NUMBERS), deleted_at=START, status="attached", **fields)


def write(engine: Engine, *rows: dict[str, Any]) -> None:
    with engine.begin() as connection:
        for row in rows:
            connection.execute(insert(BLOCK_DEVICES), row)


def uuids(engine: Engine) -> dict[str, str | None]:
    """Return the uuid of each row by its device name, as another program finds them."""
    query = select(BLOCK_DEVICES.c.device_name, BLOCK_DEVICES.c.uuid)
    with engine.connect() as connection:
        return {row.device_name: row.uuid for row in connection.execute(query)}
