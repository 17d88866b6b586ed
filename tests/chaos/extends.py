"""Scenes about a volume that has grown under its guest: every view of an attachment, and sizes."""

from pathlib import Path
from typing import Any

from tests.chaos import views
from tests.chaos.stage import SIZE, Case, Stage
from tests.chaos.views import VIRTIO_SERIAL, Views, select_all
from tests.guests import BOOT_TIMEOUT
from worker.cmd.demo.guest import GuestSilent
from worker.model.volume import GIB
from worker.persistence.schema import BLOCK_DEVICES, POOL_VOLUMES

GROWN = 2 * GIB
"""Sparse: nothing is written, and the row counts in GiB."""


def grown(stage: Stage, *, running: bool) -> Case:
    """Attach a volume, and let its service extend it."""
    case = stage.attached(running=running)
    stage.run("grow_volume", volume_id=case.volume, size=GROWN)
    return case


def growing(case: Case) -> dict[str, Any]:
    """Return what an extend is asked with that is to grow the volume as well."""
    return extending(case) | {"grow": True}


def extending(case: Case) -> dict[str, Any]:
    """Return what an extend is asked with."""
    return {"instance_uuid": case.guest.uuid, "bdm_uuid": case.row["uuid"], "new_size": GROWN}


def unseen(case: Case) -> Views:
    """Return what all views are as long as neither guest nor row knows of it."""
    return _views(case, guest=SIZE, row=1)


def as_made(case: Case) -> Views:
    """Return what all views are when the volume has not grown."""
    return _views(case, guest=SIZE, row=1, pool=SIZE)


def seen(case: Case) -> Views:
    """Return what all views are when both do."""
    return _views(case, guest=GROWN, row=GROWN // GIB)


def differences(stage: Stage, case: Case, wanted: Views) -> list[str]:
    """Look at all views; return where they are not what is wanted."""
    rest = {name: value for name, value in wanted.items() if name not in _SIZES}
    (record,) = select_all(stage, POOL_VOLUMES, POOL_VOLUMES.c.id == case.volume)
    sizes = (
        _row_size(stage, case),
        _guest_size(case, wanted["the guest's size"]),
        Path(record["path"]).stat().st_size,
        record["size"],
    )
    wrong = [
        f"{name}: {found}, not {wanted[name]}"
        for name, found in zip(_SIZES, sizes, strict=True)
        if found != wanted[name]
    ]
    return wrong + views.differences(stage, case, rest)


_SIZES = ("the row's size", "the guest's size", "the file's size", "the pool's size")


def _views(case: Case, *, guest: int, row: int, pool: int = GROWN) -> Views:
    sizes = (row, guest if case.running else None, pool, pool)
    return views.attached(case) | dict(zip(_SIZES, sizes, strict=True))


def _row_size(stage: Stage, case: Case) -> int:
    (row,) = select_all(stage, BLOCK_DEVICES, BLOCK_DEVICES.c.uuid == case.row["uuid"])
    return int(row["volume_size"])


def _guest_size(case: Case, wanted: int | None) -> int | None:
    """Return how many bytes the guest sees, given time to see as many as it should."""
    if not case.guest.runs:
        return None
    serial = case.volume[:VIRTIO_SERIAL]
    try:
        case.guest.console.wait_for(
            lambda disks: (serial, wanted) in {(one.serial, one.size) for one in disks.values()},
            BOOT_TIMEOUT,
        )
    except GuestSilent:
        found = [one.size for one in case.guest.console.disks().values() if one.serial == serial]
        return found[0] if found else None
    return wanted
