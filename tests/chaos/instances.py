"""Scenes about a whole instance: every view of one that was built, and of one that is gone."""

import json
from pathlib import Path
from typing import Any, cast

import libvirt
from lxml import etree

from tests.chaos.stage import SIZE, Case, Stage
from tests.chaos.views import Views, select_all
from tests.guests import Guest
from worker.cmd.demo.guest import GuestConsole
from worker.errors import InstanceNotFound
from worker.model.ids import new_uuid
from worker.persistence.schema import (
    BLOCK_DEVICES,
    CONNECTIONS,
    INSTANCES,
    POOL_ATTACHMENTS,
    POOL_VOLUMES,
)

IMAGE = "root"
DISKS = 4
"""Root, ephemeral, swap and a volume. The last is no file, and the config drive has no row."""


def unbuilt(stage: Stage) -> Case:
    """Have an image and a volume for an instance that is to be."""
    _put_image(stage.served.state / "images")
    instance, volume = new_uuid(), new_uuid()
    stage.run("create_volume", volume_id=volume, size=SIZE)
    stage.built.add(instance)
    console = GuestConsole(folder(stage, instance) / "console.log")
    # There is no handle on a domain that comes and goes.
    domain = cast("libvirt.virDomain", None)
    name = f"test-{instance[:8]}"
    guest = Guest(uri=stage.uri, uuid=instance, name=name, domain=domain, console=console)
    return Case(guest=guest, running=False, volume=volume, row={})


def built(stage: Stage) -> Case:
    """Build one; it runs, with nothing to boot."""
    case = unbuilt(stage)
    stage.run("build_instance", **wanted(case))
    return case


def wanted(case: Case) -> dict[str, Any]:
    """Return what the instance is asked for with."""
    return {
        "instance_uuid": case.guest.uuid,
        "name": case.guest.name,
        "vcpus": 1,
        "memory_mb": 32,
        "image_ref": IMAGE,
        "ephemeral_gb": [1],
        "swap_mb": 1,
        "block_devices": [{"source_type": "volume", "volume_id": case.volume}],
        "config_drive": True,
    }


def there(_case: Case) -> Views:
    """Return what all views are when the instance was built."""
    return {
        "instance": "active",
        "rows": ["attached"] * DISKS,
        "live XML": "the rows and a config drive",
        "persistent XML": "the rows and a config drive",
        "files": DISKS,
        "volume": "in-use",
        "attachments": ["attached"],
        "connections": 1,
    }


def away(_case: Case) -> Views:
    """Return what all views are when there is no such instance, or never was."""
    return {
        "instance": None,
        "rows": [],
        "live XML": None,
        "persistent XML": None,
        "files": None,
        "volume": "available",
        "attachments": [],
        "connections": 0,
    }


def differences(stage: Stage, case: Case, wanted: Views) -> list[str]:
    """Look at all views; return where they are not what is wanted."""
    found = rows(stage, case) | _domain(stage, case)
    return [
        f"{name}: {found[name]!r}, not {value!r}"
        for name, value in wanted.items()
        if found[name] != value
    ]


def clear(stage: Stage, case: Case) -> None:
    """Take the instance away if it is there; that this works is part of the proof."""
    try:
        stage.served.client.call("get_instance", instance_uuid=case.guest.uuid)
        stage.run("destroy_instance", instance_uuid=case.guest.uuid)
    except InstanceNotFound:
        pass
    wrong = differences(stage, case, away(case))
    assert not wrong, f"after a destroy that followed: {wrong}"
    stage.run("delete_volume", volume_id=case.volume)


def _put_image(folder: Path) -> None:
    """Once: an image never changes under its id."""
    folder.mkdir(exist_ok=True)
    if (folder / IMAGE).exists():
        return
    with (folder / IMAGE).open("wb") as file:
        file.truncate(1 << 20)
    (folder / f"{IMAGE}.json").write_text(json.dumps({"disk_format": "raw"}))


def folder(stage: Stage, instance: str) -> Path:
    """Return where the instance's files are, or would be."""
    return stage.served.state / "instances" / instance


def rows(stage: Stage, case: Case) -> Views:
    """Return what the database has of it."""
    uuid = case.guest.uuid
    there = select_all(stage, INSTANCES, INSTANCES.c.uuid == uuid)
    live = [row for row in there if row["deleted"] == 0]
    of_it = (BLOCK_DEVICES.c.instance_uuid == uuid) & (BLOCK_DEVICES.c.deleted == 0)
    (volume,) = select_all(stage, POOL_VOLUMES, POOL_VOLUMES.c.id == case.volume)
    held = select_all(stage, POOL_ATTACHMENTS, POOL_ATTACHMENTS.c.volume_id == case.volume)
    return {
        "instance": live[0]["vm_state"] if live else None,
        "rows": [row["status"] for row in select_all(stage, BLOCK_DEVICES, of_it)],
        "volume": volume["status"],
        "attachments": [each["status"] for each in held],
        "connections": len(select_all(stage, CONNECTIONS, CONNECTIONS.c.instance_uuid == uuid)),
    }


def _domain(stage: Stage, case: Case) -> Views:
    place = folder(stage, case.guest.uuid)
    # The console's file is the hypervisor's, who makes it when it likes.
    files = [path for path in place.glob("*") if path.name != "console.log"]
    connection = libvirt.open(stage.uri)
    try:
        known = {domain.UUIDString(): domain for domain in connection.listAllDomains()}
        domain = known.get(case.guest.uuid)
        runs = domain is not None and bool(domain.isActive())
        return {
            "live XML": _compared(stage, domain.XMLDesc(0)) if domain and runs else None,
            "persistent XML": _compared(stage, domain.XMLDesc(_INACTIVE)) if domain else None,
            "files": len(files) if place.exists() else None,
        }
    finally:
        connection.close()


_INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE


def _compared(stage: Stage, xml: str) -> str:
    """Say that name, alias and serial of each disk are the rows', or what they are."""
    domain: Any = etree.fromstring(xml)
    uuid = domain.findtext("uuid")
    of_it = (BLOCK_DEVICES.c.instance_uuid == uuid) & (BLOCK_DEVICES.c.deleted == 0)
    rows = {
        (row["device_name"].removeprefix("/dev/"), row["alias"], row["serial"])
        for row in select_all(stage, BLOCK_DEVICES, of_it)
    }
    found = {
        (disk.find("target").get("dev"), disk.find("alias").get("name"), disk.findtext("serial"))
        for disk in domain.findall("devices/disk")
    }
    config = {each for each in found if each[1] == f"ua-config-{uuid}"}
    agree = found - config == rows and len(config) == 1
    return "the rows and a config drive" if agree else f"{found}, not {rows}"
