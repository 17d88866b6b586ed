"""Scenes about an interface of a guest: every view of one, beside another with its MAC."""

import json
from dataclasses import replace
from typing import Any

import libvirt
import libvirt_qemu
from lxml import etree

from tests.chaos.stage import Case, Stage
from tests.chaos.views import INACTIVE, Views, select_all
from tests.guests import BOOT_TIMEOUT
from tests.processes import Json
from worker.cmd.demo.guest import GuestSilent
from worker.model.ids import new_uuid
from worker.persistence.schema import INSTANCES, PERIPHERALS


def planned(stage: Stage, *, running: bool) -> Case:
    """Have a guest, and think of a port; another interface of the guest has its MAC."""
    guest, port, other = stage.guest(running=running), new_uuid(), new_uuid()
    mac = f"52:54:00:{port[:2]}:{port[2:4]}:{port[4:6]}"
    case = Case(guest=guest, running=running, volume="", row={"port_id": port, "mac": mac})
    twin = replace(case, row={"port_id": other, "mac": mac})
    stage.run("attach_interface", **wanted(twin))
    return replace(case, row={**case.row, "twin": other})


def attached(stage: Stage, *, running: bool) -> Case:
    """Have a guest with two interfaces of one MAC."""
    case = planned(stage, running=running)
    stage.run("attach_interface", **wanted(case))
    assert not differences(stage, case, there(case))
    return case


def wanted(case: Case) -> dict[str, Any]:
    """Return what an attach is asked with."""
    return named(case) | {"network": "user", "mac_address": case.row["mac"]}


def named(case: Case) -> dict[str, Any]:
    """Return what a detach is asked with."""
    return {"instance_uuid": case.guest.uuid, "port_id": case.row["port_id"]}


def there(case: Case) -> Views:
    """Return what all views are when the guest has both interfaces."""
    return _views(case, 1)


def gone(case: Case) -> Views:
    """Return what all views are when it has the twin alone."""
    return _views(case, 0)


def _views(case: Case, count: int) -> Views:
    live = count if case.running else 0
    return {
        "runs": case.running,
        "vm_state": "active" if case.running else "stopped",
        "rows": ["attached"] * count,
        "live XML": [case.row["mac"]] * live,
        "persistent XML": [case.row["mac"]] * count,
        "addresses": count,
        "QEMU devices": live,
        "the guest sees": live + 1 if case.running else 0,
        "the twin": ["attached", int(case.running), 1],
    }


def differences(stage: Stage, case: Case, wanted: Views) -> list[str]:
    """Look at all views; return where they are not what is wanted."""
    found = _look(stage, case, seen=wanted["the guest sees"])
    return [
        f"{name}: {found[name]!r}, not {value!r}"
        for name, value in wanted.items()
        if found[name] != value
    ]


def clear(stage: Stage, case: Case) -> None:
    """Take both away; that this works is part of the proof."""
    for port in (case.row["port_id"], case.row["twin"]):
        if _rows(stage, case, port):
            stage.run("detach_interface", instance_uuid=case.guest.uuid, port_id=port)
    alone = _look(stage, case, seen=0)
    assert (alone["rows"], alone["the guest sees"], alone["persistent XML"]) == ([], 0, [])


def _look(stage: Stage, case: Case, *, seen: int) -> Views:
    (instance,) = select_all(stage, INSTANCES, INSTANCES.c.uuid == case.guest.uuid)
    port, twin = case.row["port_id"], case.row["twin"]
    live, kept = _interfaces(case, port)
    live_twin, kept_twin = _interfaces(case, twin)
    addresses = {etree.tostring(each.find("address")) for each in (*live, *kept)}
    status = _rows(stage, case, twin)
    return {
        "runs": case.guest.runs,
        "vm_state": instance["vm_state"],
        "rows": _rows(stage, case, port),
        "live XML": [each.find("mac").get("address") for each in live],
        "persistent XML": [each.find("mac").get("address") for each in kept],
        "addresses": len(addresses),
        "QEMU devices": _qemu(case, port),
        "the guest sees": _guest_sees(case, seen),
        "the twin": [*status, len(live_twin), len(kept_twin)],
    }


def _rows(stage: Stage, case: Case, port: str) -> list[str]:
    columns = PERIPHERALS.c
    which = (columns.instance_uuid == case.guest.uuid) & (columns.port_id == port)
    return [row["status"] for row in select_all(stage, PERIPHERALS, which & (columns.deleted == 0))]


def _interfaces(case: Case, port: str) -> tuple[list[Any], list[Any]]:
    domain = case.guest.domain
    live = _bearing(domain.XMLDesc(0), port) if case.guest.runs else []
    return live, _bearing(domain.XMLDesc(INACTIVE), port)


def _bearing(xml: str, port: str) -> list[Any]:
    found = etree.fromstring(xml).findall("devices/interface")
    aliases = ((each, each.find("alias")) for each in found)
    return [
        each for each, alias in aliases if alias is not None and alias.get("name") == f"ua-{port}"
    ]


def _qemu(case: Case, port: str) -> int | list[Any]:
    """Count the card in QEMU; it has as many ends at the host's side."""
    if not case.guest.runs:
        return 0
    cards = [each["name"] for each in _ask(case, "qom-list", path="/machine/peripheral")]
    fronts = [name for name in cards if port in name]
    ends = [each for each in _ask(case, "query-rx-filter") if port in each["name"]]
    return len(fronts) if len(fronts) == len(ends) else [fronts, ends]


def _ask(case: Case, command: str, **arguments: str) -> list[Json]:
    question = json.dumps({"execute": command, "arguments": arguments})
    answer = libvirt_qemu.qemuMonitorCommand(case.guest.domain, question, 0)
    found: list[Json] = json.loads(answer)["return"]
    return found


def _guest_sees(case: Case, wanted: int) -> int:
    """Count the cards with the MAC; the guest is given time to come to see what it should."""
    if not case.guest.runs:
        return 0

    def count(macs: Any) -> int:  # noqa: ANN401 - a mapping
        return list(macs.values()).count(case.row["mac"])

    try:
        seen = case.guest.console.wait_for_interfaces(
            lambda macs: count(macs) == wanted, BOOT_TIMEOUT
        )
    except (GuestSilent, libvirt.libvirtError):
        last = case.guest.console.last()
        return -1 if last is None else count(last.interfaces)
    return count(seen)
