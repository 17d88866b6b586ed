"""Scenes about a volume that gives its place to another one: every view, of both of them."""

import uuid
from typing import Any

from tests.chaos import views
from tests.chaos.stage import SIZE, Case, Stage
from tests.chaos.views import Views, select_all
from worker.persistence.schema import BLOCK_DEVICES, CONNECTIONS, POOL_ATTACHMENTS, POOL_VOLUMES

_NEW = ("the row's volume", "the new volume", "its attachments", "records")


def attached(stage: Stage) -> Case:
    """Attach a volume to a guest that runs, and make another one."""
    case = stage.attached(running=True)
    stage.run("create_volume", volume_id=_new(case), size=SIZE)
    return case


def swapping(case: Case) -> dict[str, Any]:
    """Return what a swap is asked with."""
    return {
        "instance_uuid": case.guest.uuid,
        "bdm_uuid": case.row["uuid"],
        "new_volume_id": _new(case),
    }


def with_the_old(case: Case) -> Views:
    """Return what all views are as long as the guest has its first volume."""
    return views.attached(case) | dict(zip(_NEW, (case.volume, "available", [], 1), strict=True))


def with_the_new(case: Case) -> Views:
    """Return what all views are when it has the other one, as the same disk."""
    return (
        views.attached(case)
        | {"volume": "available", "attachments": [], "attachment of the row": False}
        | {"QEMU opens its file": False}
        | dict(zip(_NEW, (_new(case), "in-use", ["attached"], 1), strict=True))
    )


def differences(stage: Stage, case: Case, wanted: Views) -> list[str]:
    """Look at all views; return where they are not what is wanted."""
    rest = {name: value for name, value in wanted.items() if name not in _NEW}
    (row,) = select_all(stage, BLOCK_DEVICES, BLOCK_DEVICES.c.uuid == case.row["uuid"])
    (new,) = select_all(stage, POOL_VOLUMES, POOL_VOLUMES.c.id == _new(case))
    held = select_all(stage, POOL_ATTACHMENTS, POOL_ATTACHMENTS.c.volume_id == _new(case))
    records = select_all(stage, CONNECTIONS, CONNECTIONS.c.instance_uuid == case.guest.uuid)
    found = (row["volume_id"], new["status"], [each["status"] for each in held], len(records))
    wrong = [
        f"{name}: {seen}, not {wanted[name]}"
        for name, seen in zip(_NEW, found, strict=True)
        if seen != wanted[name]
    ]
    jobs = case.guest.domain.blockJobInfo(row["device_name"].removeprefix("/dev/"))
    wrong += [f"a copy goes on: {jobs}"] if jobs else []
    wrong += [f"the row has another side: {row['swap']}"] if row["swap"] else []
    return wrong + views.differences(stage, case, rest)


def clear(stage: Stage, case: Case) -> None:
    """Take the volume away that the guest has, and both of them."""
    (row,) = select_all(stage, BLOCK_DEVICES, BLOCK_DEVICES.c.uuid == case.row["uuid"])
    if not row["deleted"]:
        place = {"instance_uuid": case.guest.uuid, "bdm_uuid": row["uuid"]}
        stage.run("detach_volume", volume_id=row["volume_id"], **place)
    for volume in (case.volume, _new(case)):
        stage.run("delete_volume", volume_id=volume)


def _new(case: Case) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, case.volume))
