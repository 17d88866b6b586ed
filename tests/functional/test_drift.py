"""Drift made by hand behind a worker's back, found and mended as an operator would."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import libvirt
import libvirt_qemu
import pytest
from lxml import etree

from tests.chaos.stage import soon
from tests.guests import BOTH, Guest, GuestMaker, qemu_of
from tests.processes import Json, Served, configure
from worker.model.ids import new_uuid

LIVE, CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG
MIB = 1 << 20


@pytest.fixture
def served(libvirtd: str, tmp_path: Path) -> Iterator[Served]:
    found = configure(tmp_path / "state", libvirtd)
    found.start()
    yield found
    if found.process is not None and found.process.poll() is None:
        found.kill()


@pytest.fixture
def guest(served: Served, make_guest: GuestMaker) -> Guest:
    made = make_guest()
    served.client.call("adopt_instance", domain=made.uuid)
    return made


@pytest.fixture
def stopped(served: Served, make_guest: GuestMaker) -> Guest:
    made = make_guest(booted=False)
    served.client.call("adopt_instance", domain=made.uuid)
    return made


def attach(served: Served, guest: Guest) -> Json:
    volume = new_uuid()
    served.run("create_volume", volume_id=volume, size=8 * MIB)
    row = served.client.call(
        "reserve_block_device_name", instance_uuid=guest.uuid, volume_id=volume
    )
    ended = served.run("attach_volume", instance_uuid=guest.uuid, bdm_uuid=row["uuid"])
    assert ended["state"] == "succeeded", ended
    found: Json = row
    return found


def change(served: Served, *statements: tuple[str, tuple[Any, ...]]) -> None:
    """Change the database as a slip of an operator's hand would."""
    with closing(sqlite3.connect(served.state / "blockworker.sqlite", timeout=10)) as database:
        for statement, values in statements:
            database.execute(statement, values)
        database.commit()


def kinds(served: Served, *options: str) -> list[str]:
    """Return what the command finds, having checked its exit status."""
    done = served.command("drift", *options, "--json")
    assert done.returncode in {0, 3}, done.stderr
    found = json.loads(done.stdout)["differences"]
    assert done.returncode == (3 if found else 0)
    return [each["kind"] for each in found]


def mend(served: Served, *options: str) -> str:
    """Repair; return what was printed once nothing is left."""
    done = served.command("drift", "--repair", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def aliases(guest: Guest) -> tuple[set[str], set[str]]:
    """Return those of all disks, live and persistent, as libvirt has them."""
    live = guest.domain.XMLDesc(0) if guest.domain.isActive() else "<domain/>"
    kept = guest.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    return _aliases(live), _aliases(kept)


def wait_until_gone(guest: Guest, alias: str) -> None:
    """The guest sees a disk no more a moment before QEMU has forgotten the device."""
    deadline = time.monotonic() + 20.0
    while alias in aliases(guest)[0] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alias not in aliases(guest)[0]


def _aliases(xml: str) -> set[str]:
    names = [str(alias.get("name")) for alias in etree.fromstring(xml).iter("alias")]
    return {name for name in names if name.startswith("ua-")}


def plug_in_a_foreign_disk(guest: Guest, folder: Path, where: int) -> str:
    """Attach a disk as other hands would, with an alias that looks like ours."""
    path = folder / "theirs.raw"
    path.write_bytes(bytes(MIB))
    alias = f"ua-{new_uuid()}"
    guest.domain.attachDeviceFlags(
        f"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{path}'/>"
        f"<target dev='vdy' bus='virtio'/><alias name='{alias}'/></disk>",
        where,
    )
    return alias


def remove_row(served: Served, row: Json) -> None:
    statement = "update block_device_mapping set deleted=id, deleted_at=created_at where uuid=?"
    change(served, (statement, (row["uuid"],)))


def qmp(guest: Guest, command: str, **arguments: object) -> None:
    question = json.dumps({"execute": command, "arguments": arguments})
    answer = json.loads(libvirt_qemu.qemuMonitorCommand(guest.domain, question, 0))
    assert "error" not in answer, answer


def files_of(guest: Guest) -> set[Path]:
    """Return what the guest's QEMU has open."""
    found = set()
    for entry in Path(f"/proc/{qemu_of(guest)}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(entry.readlink())
    return found


def plant_ghost(guest: Guest, row: Json, file: Path) -> None:
    """Leave what a libvirtd leaves that dies in mid-attach: QEMU has the disk, libvirt does not."""
    name = "libvirt-99-format"
    qmp(
        guest,
        "blockdev-add",
        **{"node-name": "libvirt-99-storage", "driver": "file", "filename": str(file)},
    )
    qmp(guest, "blockdev-add", **{"node-name": name, "driver": "raw", "file": "libvirt-99-storage"})
    bus = int(row["address"].split(":")[2], 16)
    where = {"bus": f"pci.{bus}", "addr": "0x0"}
    qmp(guest, "device_add", driver="virtio-blk-pci", id=row["alias"], drive=name, **where)


def test_what_a_running_guest_lost_is_found_and_put_back(
    served: Served, guest: Guest, tmp_path: Path
) -> None:
    row = attach(served, guest)
    guest.wait_for_disk("vda")
    theirs = plug_in_a_foreign_disk(guest, tmp_path, BOTH)
    guest.wait_for_disk("vdb")
    both = {row["alias"], theirs}
    assert kinds(served) == []

    guest.domain.detachDeviceAlias(row["alias"], LIVE)
    guest.wait_for_no_disk("vda")
    assert kinds(served) == ["live_missing"]
    would = served.command("drift", "--repair", "--dry-run")
    assert would.returncode == 3
    assert "live_missing  plug the disk in again as vd" in would.stdout
    assert "1 of which --repair would mend" in would.stdout
    assert aliases(guest) == ({theirs}, both)
    assert "no drift" in mend(served)
    guest.wait_for_disk("vda")
    assert aliases(guest) == (both, both)

    guest.domain.detachDeviceAlias(row["alias"], CONFIG)
    assert kinds(served, guest.uuid) == ["persistent_missing"]
    mend(served, guest.uuid)
    assert aliases(guest) == (both, both)
    done = served.command("drift")
    assert (done.returncode, "no drift" in done.stdout) == (0, True)
    assert "disks or attachments are not ours" in done.stdout

    guest.domain.detachDeviceAlias(row["alias"], LIVE)
    guest.wait_for_no_disk("vda")
    wait_until_gone(guest, row["alias"])
    (file,) = (served.state / "volumes").iterdir()
    plant_ghost(guest, row, file)
    guest.wait_for_disk("vda")
    assert kinds(served) == ["live_missing"]
    repaired = served.command("drift", "--repair")
    assert repaired.returncode == 3, repaired.stdout
    # What the repair ran into the worker looks at itself, and no look says anything meanwhile.
    assert soon(lambda: kinds(served) == ["ghost"], 20)
    assert file in files_of(guest)

    ended = served.run("detach_volume", instance_uuid=guest.uuid, volume_id=row["volume_id"])
    assert ended["state"] == "succeeded", ended
    assert aliases(guest) == ({theirs}, {theirs})
    guest.wait_for_no_disk("vda")


def test_a_detach_takes_out_what_libvirt_has_lost_and_qemu_has_not(
    served: Served, guest: Guest
) -> None:
    row = attach(served, guest)
    guest.wait_for_disk("vda")
    guest.domain.detachDeviceAlias(row["alias"], LIVE)
    guest.wait_for_no_disk("vda")
    (file,) = (served.state / "volumes").iterdir()
    plant_ghost(guest, row, file)
    guest.wait_for_disk("vda")

    ended = served.run("detach_volume", instance_uuid=guest.uuid, volume_id=row["volume_id"])

    assert ended["state"] == "succeeded", ended
    guest.wait_for_no_disk("vda")
    assert file not in files_of(guest)


def test_what_the_volume_service_and_the_host_forgot_is_made_again(
    served: Served, stopped: Guest
) -> None:
    row = attach(served, stopped)
    volume = (row["volume_id"],)
    change(
        served,
        ("delete from pool_attachments where volume_id=?", volume),
        ("update pool_volumes set status='available' where id=?", volume),
        ("delete from connections where volume_id=?", volume),
    )
    stopped.domain.detachDeviceAlias(row["alias"], CONFIG)

    assert kinds(served) == ["attachment_missing", "connection_missing", "persistent_missing"]
    answer = json.loads(served.command("drift", "--repair", "--json").stdout)

    assert answer["differences"] == []
    (ran,) = answer["operations"]
    assert (ran["state"], ran["instance_uuid"]) == ("succeeded", stopped.uuid)
    assert served.told("volume", "show", row["volume_id"])["status"] == "in-use"
    assert aliases(stopped) == (set(), {row["alias"]})
    ended = served.run("detach_volume", instance_uuid=stopped.uuid, volume_id=row["volume_id"])
    assert ended["state"] == "succeeded", ended
    assert served.told("volume", "show", row["volume_id"])["status"] == "available"


def test_what_a_removed_row_left_is_cleared_away(
    served: Served, stopped: Guest, tmp_path: Path
) -> None:
    row = attach(served, stopped)
    theirs = plug_in_a_foreign_disk(stopped, tmp_path, CONFIG)
    remove_row(served, row)
    left = ["persistent_left", "connection_left", "attachment_left"]
    assert kinds(served, "--repair", "--dry-run") == left
    assert aliases(stopped) == (set(), {row["alias"], theirs})
    mend(served)

    assert aliases(stopped) == (set(), {theirs})
    assert served.told("volume", "show", row["volume_id"])["status"] == "available"
    assert kinds(served) == []


def test_reading_needs_no_worker_and_mending_does(served: Served, stopped: Guest) -> None:
    row = attach(served, stopped)
    stopped.domain.detachDeviceAlias(row["alias"], CONFIG)
    served.stop()

    assert kinds(served) == ["persistent_missing"]
    refused = served.command("drift", "--repair")

    assert (refused.returncode, "worker.unreachable" in refused.stderr) == (1, True)
    assert aliases(stopped) == (set(), set())


def test_what_cannot_be_mended_is_said_and_stays_found(served: Served, stopped: Guest) -> None:
    row = attach(served, stopped)
    change(served, ("update block_device_mapping set serial='x' where uuid=?", (row["uuid"],)))

    done = served.command("drift", "--repair")

    assert done.returncode == 3
    assert "persistent_differs" in done.stdout
    assert f"serial {row['volume_id']}, not x" in done.stdout
    assert "mending" not in done.stderr


def test_a_repair_that_the_worker_cannot_finish_is_said_with_its_reason(
    served: Served, stopped: Guest
) -> None:
    row = attach(served, stopped)
    stopped.domain.detachDeviceAlias(row["alias"], CONFIG)
    (file,) = (served.state / "volumes").iterdir()
    file.write_bytes(bytes(MIB))

    done = served.command("drift", "--repair")

    assert done.returncode == 3, done.stdout
    assert "[operation.left_behind]" in done.stderr
    assert "8388608 are recorded" in done.stderr
    assert aliases(stopped) == (set(), set())


def test_a_ghost_is_seen_by_qemu_alone_and_taken_out(served: Served, guest: Guest) -> None:
    row = attach(served, guest)
    guest.wait_for_disk("vda")
    ended = served.run("detach_volume", instance_uuid=guest.uuid, volume_id=row["volume_id"])
    assert ended["state"] == "succeeded", ended
    guest.wait_for_no_disk("vda")
    (file,) = (served.state / "volumes").iterdir()
    plant_ghost(guest, row, file)
    guest.wait_for_disk("vda")

    assert kinds(served) == []
    assert kinds(served, "--qemu") == ["ghost"]
    mend(served, "--qemu")

    guest.wait_for_no_disk("vda")
    again = served.client.call(
        "reserve_block_device_name", instance_uuid=guest.uuid, volume_id=row["volume_id"]
    )
    assert again["alias"] == row["alias"]
    ended = served.run("attach_volume", instance_uuid=guest.uuid, bdm_uuid=again["uuid"])
    assert ended["state"] == "succeeded", ended
    guest.wait_for_disk("vda")
    assert kinds(served, "--qemu") == []


def test_nothing_is_taken_from_under_a_running_guest_whose_qemu_was_not_asked(
    served: Served, guest: Guest
) -> None:
    row = attach(served, guest)
    guest.wait_for_disk("vda")
    remove_row(served, row)
    outside = ["connection_left", "attachment_left"]
    assert kinds(served) == ["live_left", "persistent_left", *outside]

    done = served.command("drift", "--repair")
    assert (done.returncode, "look with --qemu" in done.stdout) == (3, True)
    guest.wait_for_no_disk("vda")
    assert kinds(served) == outside
    assert served.told("volume", "show", row["volume_id"])["status"] == "in-use"

    mend(served, "--qemu")
    assert served.told("volume", "show", row["volume_id"])["status"] == "available"
    assert kinds(served, "--qemu") == []
