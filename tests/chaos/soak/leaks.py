"""All views of all volumes after a soak: nothing leaked."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from lxml import etree
from sqlalchemy import RowMapping, true

from tests.chaos import views
from tests.chaos.soak.ground import Ground
from tests.chaos.stage import Case
from tests.guests import Guest, qemu_of
from worker.model.block_device import DeviceStatus
from worker.model.ids import InstanceId
from worker.persistence.schema import (
    BLOCK_DEVICES,
    CONNECTIONS,
    POOL_ATTACHMENTS,
    POOL_VOLUMES,
)
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.qemu.insides import LibvirtGuestInsides

SETTLED = (DeviceStatus.RESERVED, DeviceStatus.ATTACHED)


def findings(ground: Ground) -> Iterator[str]:
    """Compare all views of each row that is live, and look for what no row has."""
    live = views.select_all(ground.stage, BLOCK_DEVICES, BLOCK_DEVICES.c.deleted == 0)
    for row in live:
        if row["status"] not in SETTLED:
            yield f"row {row['uuid']} is {row['status']}"
    for each in ground.guests:
        guest = ground.fresh(each)
        of_guest = [row for row in live if row["instance_uuid"] == guest.uuid]
        for row in of_guest:
            yield from _of_row(ground, guest, row)
        yield from _of_guest(ground, guest, [row for row in of_guest if _is_attached(row)])
    yield from _of_the_pool(ground, [row for row in live if _is_attached(row)])


def _of_row(ground: Ground, guest: Guest, row: RowMapping) -> Iterator[str]:
    fields = {name: row[name] for name in ("uuid", "alias", "device_name")}
    case = Case(guest=guest, running=True, volume=row["volume_id"], row=fields)
    wanted = views.attached(case) if _is_attached(row) else views.gone(case) | {"row": "reserved"}
    for difference in views.differences(ground.stage, case, wanted):
        yield f"row {row['uuid']} ({row['status']}): {difference}"


def _of_guest(ground: Ground, guest: Guest, attached: Sequence[RowMapping]) -> Iterator[str]:
    """Both XMLs, QEMU and its open files have what is attached and nothing else of ours."""
    aliases = sorted(row["alias"] for row in attached)
    for name, flags in (("live", 0), ("persistent", views.INACTIVE)):
        yield from _unequal(f"{name} XML", guest, _ours(guest.domain.XMLDesc(flags)), aliases)
    yield from _unequal("QEMU", guest, _inside(guest), aliases)
    paths = {row["id"]: row["path"] for row in views.select_all(ground.stage, POOL_VOLUMES, true())}
    wanted = sorted(paths[row["volume_id"]] for row in attached)
    yield from _unequal("open files", guest, _open_files(guest, set(paths.values())), wanted)


def _of_the_pool(ground: Ground, attached: Sequence[RowMapping]) -> Iterator[str]:
    held = views.select_all(ground.stage, POOL_ATTACHMENTS, true())
    kept = views.select_all(ground.stage, CONNECTIONS, true())
    in_use = {row["volume_id"] for row in attached}
    if sorted(row["volume_id"] for row in held) != sorted(in_use):
        yield f"pool attachments: {[row['id'] for row in held]}, {len(in_use)} volumes in use"
    if sorted(row["bdm_uuid"] for row in kept) != sorted(row["uuid"] for row in attached):
        yield f"connections: {[row['bdm_uuid'] for row in kept]}, {len(attached)} rows attached"
    for volume in views.select_all(ground.stage, POOL_VOLUMES, true()):
        wanted = "in-use" if volume["id"] in in_use else "available"
        if volume["status"] != wanted:
            yield f"volume {volume['id']} is {volume['status']}, not {wanted}"


def _unequal(name: str, guest: Guest, found: list[str], wanted: list[str]) -> Iterator[str]:
    if found != wanted:
        too_many = sorted(set(found) - set(wanted))
        missing = sorted(set(wanted) - set(found))
        yield f"guest {guest.name}, {name}: too many {too_many}, missing {missing}"


def _ours(xml: str) -> list[str]:
    aliases = [str(each.get("name")) for each in etree.fromstring(xml).iterfind(".//disk/alias")]
    return sorted(alias for alias in aliases if alias.startswith("ua-"))


def _inside(guest: Guest) -> list[str]:
    connection = LibvirtConnection(guest.uri)
    try:
        found = LibvirtGuestInsides(connection).disks(InstanceId(guest.uuid))
    finally:
        connection.close()
    return sorted(disk.alias for disk in found)


def _open_files(guest: Guest, ours: set[str]) -> list[str]:
    found = set()
    for entry in Path(f"/proc/{qemu_of(guest)}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(str(entry.readlink()))
    return sorted(found & ours)


def _is_attached(row: RowMapping) -> bool:
    return bool(row["status"] == DeviceStatus.ATTACHED)
