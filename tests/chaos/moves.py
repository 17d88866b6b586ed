"""Scenes about a guest of other hands that is adopted, let go, and carried to another worker."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import libvirt
from lxml import etree

from tests.chaos.stage import SIZE, Case, Stage
from tests.chaos.views import Views, select_all
from tests.guests import remove_guests
from tests.processes import Json
from worker.errors import InstanceNotFound
from worker.model.ids import new_uuid
from worker.model.instance import TaskState
from worker.persistence.schema import (
    BLOCK_DEVICES,
    CONNECTIONS,
    INSTANCES,
    POOL_ATTACHMENTS,
    POOL_VOLUMES,
)

_INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE
_MARKS = ("alias", "serial", "target", "address")


def adopted(stage: Stage) -> Case:
    """Have a stopped guest of other hands adopted, with a local disk."""
    path = stage.folder / f"{new_uuid()}.disk"
    with path.open("wb") as file:
        file.truncate(SIZE)
    guest = stage.make_guest(booted=False, extra_disks=[_disk(path)])
    as_made = _marks(stage, guest.uuid)
    answer = stage.served.client.call("adopt_instance", domain=guest.uuid)
    assert stage.end_of(answer["operation_id"])["state"] == "succeeded"
    row = {"as made": as_made, "marks": _marks(stage, guest.uuid)}
    return Case(guest=guest, running=False, volume="", row=row)


def with_a_volume(stage: Stage) -> Case:
    """Have it adopted, and given a volume by us."""
    case, volume = adopted(stage), new_uuid()
    stage.run("create_volume", volume_id=volume, size=SIZE)
    of_it = {"instance_uuid": case.guest.uuid}
    row = stage.served.client.call("reserve_block_device_name", volume_id=volume, **of_it)
    stage.run("attach_volume", bdm_uuid=row["uuid"], **of_it)
    document = stage.served.client.call("export_instance", **of_it)
    kept = {**row, "marks": _marks(stage, case.guest.uuid), "document": json.dumps(document)}
    return Case(guest=case.guest, running=False, volume=volume, row=kept)


def released(stage: Stage) -> Case:
    """Have it released and forgotten, so that it can be imported."""
    case = with_a_volume(stage)
    of_it = {"instance_uuid": case.guest.uuid}
    stage.run("release_instance", **of_it)
    document = stage.served.client.call("export_instance", **of_it)
    stage.run("forget_instance", **of_it)
    return replace(case, row={**case.row, "document": json.dumps(document)})


def importing(case: Case) -> dict[str, Any]:
    """Return what the import is asked with."""
    return {"instance_uuid": case.guest.uuid, "document": case.row["document"]}


def in_care(case: Case) -> Views:
    """Return what all views are of an instance that is ours and at rest."""
    return {
        "instance": (None, "stopped"),
        "rows": ["attached"] * (2 if case.volume else 1),
        "persistent XML": case.row["marks"],
        **_of_volume(case, attachments=["attached"], connections=1),
    }


def as_made(case: Case) -> Views:
    """Return what all views are of a guest that is nobody's again."""
    return {
        "instance": None,
        "rows": [],
        "persistent XML": case.row["as made"],
        **_of_volume(case, attachments=[], connections=0),
    }


def let_go(case: Case) -> Views:
    """Return what all views are of an instance that waits for another host."""
    return {
        "instance": (TaskState.RELEASED, "stopped"),
        "rows": ["attached", "missing"],
        "persistent XML": None,
        **_of_volume(case, attachments=["attached"], connections=0),
    }


def not_here(case: Case) -> Views:
    """Return what all views are before an import."""
    return let_go(case) | {"instance": None, "rows": []}


def differences(stage: Stage, case: Case, wanted: Views) -> list[str]:
    """Look at all views; return where they are not what is wanted."""
    found = _look(stage, case)
    return [
        f"{name}: {found[name]!r}, not {value!r}"
        for name, value in wanted.items()
        if found[name] != value
    ]


def clear(stage: Stage, case: Case) -> None:
    """Take the instance in if it is not, and all of it away; that this works is part of it."""
    client, of_it = stage.served.client, {"instance_uuid": case.guest.uuid}
    if case.volume:
        if _is_not_here(stage, case):
            stage.run("import_instance", **importing(case))
        stage.run("detach_volume", volume_id=case.volume, bdm_uuid=case.row["uuid"], **of_it)
        stage.run("delete_volume", volume_id=case.volume)
    try:
        client.call("get_instance", **of_it)
        stage.run("forget_instance", **of_it)
    except InstanceNotFound:
        pass
    remove_guests(stage.uri, [case.guest.uuid])


def _is_not_here(stage: Stage, case: Case) -> bool:
    try:
        found: Json = stage.served.client.call("get_instance", instance_uuid=case.guest.uuid)
    except InstanceNotFound:
        return True
    return bool(found["task_state"] == TaskState.RELEASED)


def _disk(path: Path) -> str:
    return (
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
        f"<source file='{path}'/><target dev='vda' bus='virtio'/></disk>"
    )


def _of_volume(case: Case, *, attachments: list[str], connections: int) -> Views:
    if not case.volume:
        return {"volume": None, "attachments": [], "connections": 0}
    status = "in-use" if attachments else "available"
    return {"volume": status, "attachments": attachments, "connections": connections}


def _look(stage: Stage, case: Case) -> Views:
    uuid = case.guest.uuid
    there = (INSTANCES.c.uuid == uuid) & (INSTANCES.c.deleted == 0)
    instances = select_all(stage, INSTANCES, there)
    live = (BLOCK_DEVICES.c.instance_uuid == uuid) & (BLOCK_DEVICES.c.deleted == 0)
    volumes = select_all(stage, POOL_VOLUMES, POOL_VOLUMES.c.id == case.volume)
    held = select_all(stage, POOL_ATTACHMENTS, POOL_ATTACHMENTS.c.volume_id == case.volume)
    return {
        "instance": next(((one["task_state"], one["vm_state"]) for one in instances), None),
        "rows": sorted(row["status"] for row in select_all(stage, BLOCK_DEVICES, live)),
        "persistent XML": _marks(stage, uuid),
        "volume": next((one["status"] for one in volumes), None),
        "attachments": [each["status"] for each in held],
        "connections": len(select_all(stage, CONNECTIONS, CONNECTIONS.c.instance_uuid == uuid)),
    }


def _marks(stage: Stage, uuid: str) -> list[list[str | None]] | None:
    """Return the marks of each disk of the next start; None where there is no domain."""
    connection = libvirt.open(stage.uri)
    try:
        known = {domain.UUIDString(): domain for domain in connection.listAllDomains()}
        if uuid not in known:
            return None
        tree = etree.fromstring(known[uuid].XMLDesc(_INACTIVE))
        return [[_mark(disk, name) for name in _MARKS] for disk in tree.findall("devices/disk")]
    finally:
        connection.close()


def _mark(disk: etree._Element, name: str) -> str | None:
    found = disk.find(name)
    return None if found is None else etree.tostring(found, encoding="unicode").strip()
