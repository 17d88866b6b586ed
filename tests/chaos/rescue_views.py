"""Every view of an instance that may be in rescue."""

import json
from collections.abc import Mapping
from typing import Any

import libvirt
import libvirt_qemu
from lxml import etree

from tests.chaos import instances
from tests.chaos.stage import Case, Stage
from tests.chaos.views import Views, select_all
from tests.processes import Json
from worker.model.ids import InstanceId
from worker.model.rescue.words import Mode, rescue_alias
from worker.persistence.schema import INSTANCES

_ROOT = "vda"


def as_before(case: Case) -> Views:
    """Return what all views are before a rescue and after it."""
    return {
        "instance": ["active" if case.running else "stopped", None, None],
        "rows": ["attached", "attached"],
        "runs": case.running,
        "persistent XML": "untouched",
        "live disks": "as kept" if case.running else None,
        "booted from": _aliases(case.row["kept"], "devices/disk[boot]") if case.running else [],
        "files of the rescue": [],
        "QEMU opens the rescue disk": False,
        "volume": "in-use",
        "attachments": ["attached"],
        "connections": 1,
    }


def rescued(case: Case, mode: Mode = Mode.STABLE) -> Views:
    """Return what all views are in rescue."""
    return as_before(case) | {
        "instance": ["rescued", None, mode.value],
        "runs": True,
        "live disks": _IN_RESCUE[mode],
        "booted from": [_alias(case)],
        "files of the rescue": ["config-drive.rescue.iso", "the rescue disk"],
        "QEMU opens the rescue disk": True,
    }


_IN_RESCUE = {
    Mode.STABLE: "as kept, and the rescue disk",
    Mode.LEGACY: "the rescue disk for the root, the root elsewhere, the config drive",
}


def differences(stage: Stage, case: Case, wanted: Views) -> list[str]:
    """Look at all views; return where they are not what is wanted."""
    found = instances.rows(stage, case) | _look(stage, case)
    return [
        f"{name}: {found[name]!r}, not {value!r}"
        for name, value in wanted.items()
        if found[name] != value
    ]


def row_of(stage: Stage, case: Case) -> Json:
    """Return the instance's row."""
    (row,) = select_all(stage, INSTANCES, INSTANCES.c.uuid == case.guest.uuid)
    return dict(row)


def _look(stage: Stage, case: Case) -> Views:
    row, (kept, live) = row_of(stage, case), texts(stage, case)
    rescue = row["rescue"] or {}
    disk = rescue.get("disk", {}).get("uuid")
    names = {"the rescue disk" if name == disk else name for name in files(stage, case)}
    path = str(instances.folder(stage, case.guest.uuid) / str(disk))
    return {
        "instance": [row["vm_state"], row["task_state"], rescue.get("mode")],
        "runs": live is not None,
        "persistent XML": "untouched" if kept == case.row["kept"] else kept,
        "live disks": None if live is None else _compared(case, live, disk),
        "booted from": [] if live is None else _aliases(live, "devices/disk[boot]"),
        "files of the rescue": sorted(names - set(case.row["files"])),
        "QEMU opens the rescue disk": live is not None and path in _opened(stage, case),
    }


def files(stage: Stage, case: Case) -> list[str]:
    """Return the names of the instance's files, half made ones too."""
    # The console's file is the hypervisor's, who makes it when it likes.
    found = instances.folder(stage, case.guest.uuid).glob("*")
    return [path.name for path in found if not path.name.startswith("console.log")]


def texts(stage: Stage, case: Case) -> tuple[str, str | None]:
    """Return the persistent layout, and the live one if there is a guest."""
    connection = libvirt.open(stage.uri)
    try:
        domain = connection.lookupByUUIDString(case.guest.uuid)
        live = domain.XMLDesc(0) if domain.isActive() else None
        return domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), live
    finally:
        connection.close()


def _opened(stage: Stage, case: Case) -> set[str]:
    connection = libvirt.open(stage.uri)
    try:
        domain = connection.lookupByUUIDString(case.guest.uuid)
        question = json.dumps({"execute": "query-named-block-nodes"})
        nodes = json.loads(libvirt_qemu.qemuMonitorCommand(domain, question, 0))["return"]
        return {node["file"] for node in nodes}
    finally:
        connection.close()


def _alias(case: Case) -> str:
    return rescue_alias(InstanceId(case.guest.uuid))


def _aliases(text: str, path: str) -> list[str]:
    return [disk.find("alias").get("name") for disk in _found(text, path)]


def _found(text: str, path: str) -> list[Any]:
    domain: Any = etree.fromstring(text)
    found: list[Any] = domain.findall(path)
    return found


_Marks = tuple[str, str, Mapping[str, str]]
"""Name, serial and address of a disk."""


def _marks(text: str) -> dict[str, _Marks]:
    """Return the marks of each disk by its alias."""
    return {
        disk.find("alias").get("name"): (
            disk.find("target").get("dev"),
            disk.findtext("serial"),
            dict(disk.find("address").attrib),
        )
        for disk in _found(text, "devices/disk")
    }


def _compared(case: Case, live: str, disk: str | None) -> str:
    """Say where the live disks are by where the persistent ones are."""
    kept, found = _marks(case.row["kept"]), _marks(live)
    alias = _alias(case)
    if found == kept:
        return "as kept"
    rescue = found.pop(alias, None)
    if rescue is not None and rescue[1] == disk and found == kept:
        return _IN_RESCUE[Mode.STABLE]
    return _legacy(case, kept, found, rescue) or f"{rescue} {found}, not {kept}"


def _legacy(
    case: Case, kept: Mapping[str, _Marks], found: Mapping[str, _Marks], rescue: _Marks | None
) -> str | None:
    (volume,) = [alias for alias, marks in kept.items() if marks[0] == _ROOT]
    config = f"ua-config-{case.guest.uuid}"
    if rescue is None or set(found) != {volume, config} or found[config] != kept[config]:
        return None
    place = (rescue[0], rescue[2]) == (kept[volume][0], kept[volume][2])
    moved = found[volume][1] == kept[volume][1] and found[volume][2] != kept[volume][2]
    return _IN_RESCUE[Mode.LEGACY] if place and moved else None
