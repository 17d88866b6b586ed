"""Scenes of reservations that come to nothing: an attach that is too late, and none at all."""

from dataclasses import replace
from typing import Any

from sqlalchemy import delete, insert, update

from tests.chaos import views
from tests.chaos.stage import Case, Stage
from tests.chaos.views import Views, gone, select_all
from worker.model.ids import new_uuid
from worker.model.update import Event
from worker.model.volume import AttachmentStatus, VolumeStatus
from worker.persistence.schema import BLOCK_DEVICES, POOL_ATTACHMENTS, POOL_VOLUMES, UPDATES

TOO_LATE = "operation.expired"
LONG_AGO = "2020-01-01T00:00:00+00:00"


def with_an_attachment(stage: Stage, *, running: bool) -> Case:
    """Reserve, and make the attachment, as an API tier does before it asks for the attach."""
    case = stage.reserved(running=running)
    made = {
        "id": new_uuid(),
        "volume_id": case.volume,
        "instance_uuid": case.guest.uuid,
        "status": AttachmentStatus.RESERVED.value,
    }
    with stage.engine.begin() as connection:
        connection.execute(insert(POOL_ATTACHMENTS).values(made))
    _mark(stage, case, VolumeStatus.RESERVED)
    return replace(case, row=case.row | {"given": made["id"]})


def too_late(case: Case) -> dict[str, Any]:
    """Return what an attach is asked with that was to begin long ago, or not at all."""
    return lapsed(case) | {"attachment_id": case.row["given"], "expires_at": LONG_AGO}


def lapsed(case: Case) -> dict[str, Any]:
    """Return what the worker asks itself for when a reservation has lapsed."""
    return {"instance_uuid": case.guest.uuid, "bdm_uuid": case.row["uuid"]}


def waiting(case: Case) -> Views:
    """Return what all views are while the reservation, and its attachment, wait for an attach."""
    return gone(case) | {"row": "reserved", "volume": "reserved", "attachments": ["reserved"]}


def differences(stage: Stage, case: Case, wanted: Views) -> list[str]:
    """Look at all views, and whether a row that went was told, once."""
    told = select_all(stage, UPDATES, UPDATES.c.instance_uuid == case.guest.uuid)
    released = [one["payload"] for one in told if one["event"] == Event.RELEASED.value]
    of_it = [each for each in released if each["block_device"]["uuid"] == case.row["uuid"]]
    times = int(wanted["row"] == "removed")
    wrong = [] if len(of_it) == times else [f"released is told {len(of_it)} times, not {times}"]
    return wrong + views.differences(stage, case, wanted)


def clear(stage: Stage, case: Case) -> None:
    """Take the volume away, and what still waits for it."""
    (row,) = select_all(stage, BLOCK_DEVICES, BLOCK_DEVICES.c.uuid == case.row["uuid"])
    if not row["deleted"]:
        stage.served.client.call("release_block_device", bdm_uuid=case.row["uuid"])
        which = POOL_ATTACHMENTS.c.id == case.row["given"]
        with stage.engine.begin() as connection:
            connection.execute(delete(POOL_ATTACHMENTS).where(which))
        _mark(stage, case, VolumeStatus.AVAILABLE)
    stage.run("delete_volume", volume_id=case.volume)


def _mark(stage: Stage, case: Case, status: VolumeStatus) -> None:
    of_it = POOL_VOLUMES.c.id == case.volume
    with stage.engine.begin() as connection:
        connection.execute(update(POOL_VOLUMES).where(of_it).values(status=status.value))
