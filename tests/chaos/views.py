"""Every view of one attachment: ours, libvirt's two, QEMU's, the guest's, the volume service's."""

import json
import time
from typing import Any

import libvirt
import libvirt_qemu
from lxml import etree
from sqlalchemy import RowMapping, select
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.schema import Table

from tests.chaos.stage import Case, Stage
from tests.guests import BOOT_TIMEOUT
from tests.processes import Json
from worker.cmd.demo.guest import GuestSilent
from worker.persistence.schema import (
    BLOCK_DEVICES,
    CONNECTIONS,
    INSTANCES,
    POOL_ATTACHMENTS,
    POOL_VOLUMES,
)

Views = dict[str, Any]

LATER = 3.0
VIRTIO_SERIAL = 20
INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE


def attached(case: Case) -> Views:
    """Return what all views are when the guest has the volume."""
    disk = {"target": case.row["device_name"].removeprefix("/dev/"), "serial": case.volume}
    return {
        "runs": case.running,
        "vm_state": "active" if case.running else "stopped",
        "task_state": None,
        "row": "attached",
        "live XML": [disk] if case.running else [],
        "persistent XML": [disk],
        "addresses": 1,
        "QEMU devices": 1 if case.running else 0,
        "QEMU opens its file": case.running,
        "the guest sees it": case.running,
        "volume": "in-use",
        "attachments": ["attached"],
        "attachment of the row": True,
        "connections": 1,
    }


def gone(case: Case) -> Views:
    """Return what all views are when nothing is left, the reservation included."""
    return {name: _NOTHING.get(name, wanted) for name, wanted in attached(case).items()}


_NOTHING: Views = {
    "row": "removed",
    "live XML": [],
    "persistent XML": [],
    "addresses": 0,
    "QEMU devices": 0,
    "QEMU opens its file": False,
    "the guest sees it": False,
    "volume": "available",
    "attachments": [],
    "attachment of the row": False,
    "connections": 0,
}


def differences(stage: Stage, case: Case, wanted: Views) -> list[str]:
    """Look at all views; return where they are not what is wanted, and whether that passes."""
    wrong = _differences(stage, case, wanted)
    if wrong:
        time.sleep(LATER)
        later = _differences(stage, case, wanted)
        wrong.append(f"{LATER:.0f} s later: {later or 'all as wanted'}")
    return wrong


def _differences(stage: Stage, case: Case, wanted: Views) -> list[str]:
    found = look(stage, case, seen=wanted["the guest sees it"])
    return [
        f"{name}: {found[name]!r}, not {value!r}"
        for name, value in wanted.items()
        if found[name] != value
    ]


def look(stage: Stage, case: Case, *, seen: bool) -> Views:
    """Return all views as they are; the guest is given time to come to see what it should."""
    return (
        _rows(stage, case)
        | _libvirt(case)
        | _qemu(stage, case)
        | {"the guest sees it": _guest_sees(case, wanted=seen)}
    )


def select_all(stage: Stage, table: Table, where: ColumnElement[bool]) -> list[RowMapping]:
    """Return rows, as another process reads them."""
    with stage.engine.connect() as connection:
        return list(connection.execute(select(table).where(where)).mappings())


def _rows(stage: Stage, case: Case) -> Views:
    (instance,) = select_all(stage, INSTANCES, INSTANCES.c.uuid == case.guest.uuid)
    (row,) = select_all(stage, BLOCK_DEVICES, BLOCK_DEVICES.c.uuid == case.row["uuid"])
    (volume,) = select_all(stage, POOL_VOLUMES, POOL_VOLUMES.c.id == case.volume)
    held = select_all(stage, POOL_ATTACHMENTS, POOL_ATTACHMENTS.c.volume_id == case.volume)
    kept = select_all(stage, CONNECTIONS, CONNECTIONS.c.bdm_uuid == case.row["uuid"])
    return {
        "vm_state": instance["vm_state"],
        "task_state": instance["task_state"],
        "row": "removed" if row["deleted"] else row["status"],
        "volume": volume["status"],
        "attachments": [each["status"] for each in held],
        "attachment of the row": row["attachment_id"] in {each["id"] for each in held},
        "connections": len(kept),
    }


def _libvirt(case: Case) -> Views:
    domain, alias = case.guest.domain, case.row["alias"]
    live = _disks(domain.XMLDesc(0), alias) if case.guest.runs else []
    kept = _disks(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), alias)
    addresses = {json.dumps(_parts(disk, "address")) for disk in (*live, *kept)}
    return {
        "runs": case.guest.runs,
        "live XML": [_identity(disk) for disk in live],
        "persistent XML": [_identity(disk) for disk in kept],
        "addresses": len(addresses),
    }


def _disks(xml: str, alias: str) -> list[etree._Element]:
    disks = etree.fromstring(xml).findall("devices/disk")
    return [disk for disk in disks if _parts(disk, "alias").get("name") == alias]


def _parts(disk: etree._Element, name: str) -> dict[str, str]:
    found = disk.find(name)
    return {} if found is None else {str(key): str(value) for key, value in found.attrib.items()}


def _identity(disk: etree._Element) -> Json:
    return {"target": _parts(disk, "target").get("dev"), "serial": disk.findtext("serial")}


def _qemu(stage: Stage, case: Case) -> Views:
    if not case.guest.runs:
        return {"QEMU devices": 0, "QEMU opens its file": False}
    (volume,) = select_all(stage, POOL_VOLUMES, POOL_VOLUMES.c.id == case.volume)
    devices = _ask(case, "qom-list", path="/machine/peripheral")
    fronts = [device["name"] for device in devices if case.row["alias"] in device["name"]]
    files = {node.get("file") for node in _ask(case, "query-named-block-nodes")}
    blocks = [str(block.get("qdev")) for block in _ask(case, "query-block")]
    shown = [block for block in blocks if case.row["alias"] in block]
    return {
        "QEMU devices": len(fronts) if len(fronts) == len(shown) else [fronts, shown],
        "QEMU opens its file": volume["path"] in files,
    }


def _ask(case: Case, command: str, **arguments: str) -> list[Json]:
    question = json.dumps({"execute": command, "arguments": arguments})
    answer = libvirt_qemu.qemuMonitorCommand(case.guest.domain, question, 0)
    found: list[Json] = json.loads(answer)["return"]
    return found


def _guest_sees(case: Case, *, wanted: bool) -> bool:
    if not case.guest.runs:
        return False
    serial = case.volume[:VIRTIO_SERIAL]
    try:
        case.guest.console.wait_for(
            lambda disks: wanted is (serial in {disk.serial for disk in disks.values()}),
            BOOT_TIMEOUT,
        )
    except GuestSilent:
        return not wanted
    return wanted
