"""A ghost, planted on purpose: found, told and healed once libvirtd has died."""

import json
from collections.abc import Iterator

import libvirt_qemu
from sqlalchemy import RowMapping

from tests.chaos import views
from tests.chaos.soak.ground import Ground
from tests.chaos.stage import Case, soon
from worker.model.update import Event
from worker.persistence.schema import POOL_VOLUMES

SOON = 90.0
NODE = "libvirt-999-storage"


def planted(ground: Ground) -> Iterator[str]:
    """Give QEMU a disk past libvirt, kill libvirtd, and tell what is not as it must be then."""
    case = ground.haunted
    before = len(told(ground))
    _plant(ground, case)
    if not _haunts(ground, case):
        yield "the ghost could not be planted"
    ground.libvirtd.kill(0.2)
    if not soon(lambda: any(_is_of(each, case) for each in told(ground)[before:]), SOON):
        yield f"the planted ghost {case.row['alias']} is not told"
    if not soon(lambda: not _haunts(ground, case), SOON):
        yield f"the planted ghost {case.row['alias']} is still there"


def told(ground: Ground) -> list[views.Views]:
    """Return the updates about ghosts that were heard, each once."""
    heard = {update["message_id"]: update for update in ground.bus.heard()}
    return [each for each in heard.values() if each["event_type"] == Event.GHOST]


def _is_of(update: views.Views, case: Case) -> bool:
    device = update["payload"]["block_device"]
    return device is not None and bool(device["uuid"] == case.row["uuid"])


def _plant(ground: Ground, case: Case) -> None:
    volume = _volume(ground, case)
    _ask(
        ground, case, "blockdev-add", driver="file", filename=volume["path"], **{"node-name": NODE}
    )
    # On the SCSI bus, where it takes no place that the worker would think free.
    device = {"driver": "scsi-hd", "bus": "scsi0.0", "drive": NODE, "id": case.row["alias"]}
    _ask(ground, case, "device_add", **device)


def _haunts(ground: Ground, case: Case) -> bool:
    blocks = _ask(ground, case, "query-block")
    return any(case.row["alias"] in str(block.get("qdev")) for block in blocks)


def _volume(ground: Ground, case: Case) -> RowMapping:
    (volume,) = views.select_all(ground.stage, POOL_VOLUMES, POOL_VOLUMES.c.id == case.volume)
    return volume


def _ask(ground: Ground, case: Case, command: str, **arguments: str) -> list[views.Views]:
    domain = ground.fresh(case.guest).domain
    question = json.dumps({"execute": command, "arguments": arguments})
    answer = json.loads(libvirt_qemu.qemuMonitorCommand(domain, question, 0))
    assert "error" not in answer, answer["error"]
    found: list[views.Views] = answer["return"]
    return found
