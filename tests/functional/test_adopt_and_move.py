"""A guest of other hands, adopted, forgotten and carried from one worker to another."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import libvirt
import pytest
from lxml import etree

from tests.functional.rigs import MakeRig
from tests.guests import BOOT_TIMEOUT, Guest, GuestMaker
from tests.rig import MIB, Json, Rig
from worker.cmd.main import main

INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE
VIRTIO_SERIAL = 20
QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
MARKS = ("alias", "serial", "target", "address")


def disk(path: Path | str, target: str, bus: str = "virtio", more: str = "") -> str:
    return f"""<disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none'/>
      <source file='{path}'/>
      <target dev='{target}' bus='{bus}'/>{more}
    </disk>"""


def file_of(folder: Path, name: str) -> Path:
    path = folder / name
    with path.open("wb") as file:
        file.truncate(2 * MIB)
    return path


def volume_of(rig: Rig, folder: Path) -> tuple[str, Path]:
    """Make a volume of the worker's pool; return it and its file."""
    volume = rig.volume(2 * MIB)
    (path,) = (found for found in (folder / rig.host).rglob(f"*{volume}*") if found.is_file())
    return volume, path


def strange(guest: Guest) -> None:
    """Give the domain what an edit could lose."""
    tree = etree.fromstring(guest.domain.XMLDesc(INACTIVE))
    note = etree.fromstring("<metadata><their:note xmlns:their='urn:their' a='1'/></metadata>")
    tree.insert(2, note)
    tree.insert(3, etree.Comment("made by hand"))
    command = etree.SubElement(tree, f"{{{QEMU}}}commandline", nsmap={"qemu": QEMU})
    etree.SubElement(command, f"{{{QEMU}}}env", name="THEIRS", value="1")
    guest.domain.connect().defineXML(etree.tostring(tree, encoding="unicode"))


@pytest.fixture
def foreign(make_guest: GuestMaker, tmp_path: Path) -> Callable[..., Guest]:
    """Makes a guest with disks that nothing of ours has made, and the names swapped."""

    def make(*more: str, running: bool = True) -> Guest:
        iotune = "<iotune><total_bytes_sec>10485760</total_bytes_sec></iotune>"
        disks = [
            disk(file_of(tmp_path, "second"), "vdb", more=iotune),
            disk(file_of(tmp_path, "first"), "vda", more="<serial>THEIRS-1</serial>"),
            disk(file_of(tmp_path, "third"), "sda", "scsi", "<alias name='ua-theirs'/>"),
            *more,
        ]
        guest = make_guest(booted=False, extra_disks=disks)
        strange(guest)
        if running:
            start(guest)
        return guest

    return make


def start(guest: Guest) -> None:
    guest.domain.create()
    guest.console.fresh(BOOT_TIMEOUT)


def adopt(rig: Rig, guest: Guest) -> Json:
    answer: Json = rig.call("adopt_instance", domain=guest.name)
    assert rig.end_of(answer["operation_id"])["state"] == "succeeded"
    return answer


def marks(guest: Guest) -> dict[str, dict[str, bytes | None]]:
    """Return each mark of each disk of the next start, byte by byte, by source."""
    tree = etree.fromstring(guest.domain.XMLDesc(INACTIVE))
    return {
        str(found.xpath("string(target/@dev)")): {
            name: None if (mark := found.find(name)) is None else etree.tostring(mark).strip()
            for name in MARKS
        }
        for found in tree.findall("devices/disk")
    }


def serials_in(guest: Guest) -> set[str]:
    """Return what the guest itself reads, after all of its disks are there."""
    seen = guest.console.wait_for(lambda disks: len(disks) >= len(marks(guest)), 20)
    return {one.serial[:VIRTIO_SERIAL] for one in seen.values()}


def test_a_guest_is_adopted_runs_on_untouched_and_is_as_before_when_forgotten(
    rig: Rig, foreign: Callable[..., Guest], tmp_path: Path
) -> None:
    volume, path = volume_of(rig, tmp_path)
    guest = foreign(disk(path, "vdc", more=f"<serial>{volume}</serial>"))
    guest.domain.setAutostart(1)
    live, kept = guest.domain.XMLDesc(0), guest.domain.XMLDesc(INACTIVE)

    dry = rig.call("adopt_instance", domain=guest.name, dry_run=True)
    assert (dry["operation_id"], len(dry["block_devices"])) == (None, 4)
    assert guest.domain.XMLDesc(INACTIVE) == kept

    answer = adopt(rig, guest)
    assert not guest.domain.autostart()
    rows = {row["device_name"]: row for row in answer["block_devices"]}
    assert guest.domain.XMLDesc(0) == live
    assert rows["/dev/vda"]["serial"] == "THEIRS-1"
    assert rows["/dev/vdb"]["serial"] == rows["/dev/vdb"]["uuid"]
    assert rows["/dev/vdc"]["volume_id"] == volume
    tree = etree.fromstring(guest.domain.XMLDesc(INACTIVE))
    names = {found.get("name") for found in tree.findall("devices/disk/alias")}
    assert names == {row["alias"] for row in rows.values()}
    assert tree.xpath("string(devices/disk/iotune/total_bytes_sec)") == "10485760"
    assert tree.find("metadata") is not None
    assert tree.find(f"{{{QEMU}}}commandline") is not None

    guest.domain.destroy()
    start(guest)
    assert serials_in(guest) == {row["serial"][:VIRTIO_SERIAL] for row in rows.values()}
    row = rig.call("get_block_device", instance_uuid=guest.uuid, volume_id=volume)
    ended = rig.detach(row)
    assert ended["state"] == "succeeded", ended
    guest.wait_for_no_disk("vdc")

    guest.domain.destroy()
    ended = rig.run("forget_instance", instance_uuid=guest.uuid)
    assert ended["state"] == "succeeded", ended
    assert guest.domain.autostart()
    assert said(guest.domain.XMLDesc(INACTIVE)) == said(kept, without="vdc")
    assert rig.call("list_instances") == []


def said(xml: str, without: str | None = None) -> bytes:
    """Return what a text says, but for one disk, however it is laid out."""
    tree = etree.fromstring(xml, etree.XMLParser(remove_blank_text=True))
    (devices,) = tree.findall("devices")
    for found in devices.findall("disk"):
        if found.xpath("string(target/@dev)") == without:
            devices.remove(found)
    return etree.tostring(tree, method="c14n")


def test_a_transient_guest_gets_rows_and_no_marks(
    rig: Rig, make_guest: GuestMaker, tmp_path: Path
) -> None:
    guest = make_guest(persistent=False, extra_disks=[disk(file_of(tmp_path, "only"), "vda")])
    live = guest.domain.XMLDesc(0)
    answer = rig.call("adopt_instance", domain=guest.uuid)
    assert "transient" in answer["takes_effect"]
    assert [row["device_name"] for row in answer["block_devices"]] == ["/dev/vda"]
    assert guest.domain.XMLDesc(0) == live


def command(rig: Rig, folder: Path, *words: str) -> int:
    """Run a command of the worker's, as an operator does."""
    return main(["instance", *words, "--state-path", str(folder / rig.host)])


def test_an_instance_moves_to_another_worker_with_every_mark(
    make_rig: MakeRig,
    foreign: Callable[..., Guest],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, target = make_rig(), make_rig()
    guest = foreign(running=False)
    assert command(source, tmp_path, "adopt", guest.name) == 0
    assert "next cold start" in capsys.readouterr().out
    volume, path = volume_of(source, tmp_path)
    source.attach(guest.uuid, volume)
    before, rows = marks(guest), identities(source, guest)
    start(guest)
    seen = serials_in(guest)
    guest.domain.destroy()

    file = tmp_path / "web.json"
    assert command(source, tmp_path, "export", guest.uuid) == 0
    file.write_text(capsys.readouterr().out)
    assert command(target, tmp_path, "import", str(file), "--dry-run") == 1
    assert "instance.not_released" in capsys.readouterr().err
    assert command(source, tmp_path, "export", guest.uuid, "--release") == 0
    file.write_text(capsys.readouterr().out)
    assert target.run("create_volume", volume_id=volume, path=str(path))["fault"] is None

    assert command(target, tmp_path, "import", str(file), "--dry-run") == 0
    assert target.call("list_instances") == []
    assert command(target, tmp_path, "import", str(file)) == 0
    assert volume in capsys.readouterr().out
    moved = found(guest)
    assert marks(moved) == before
    assert identities(target, guest) == rows
    start(moved)
    assert serials_in(moved) == seen

    assert target.call("get_volume", volume_id=volume)["status"] == "in-use"
    assert command(source, tmp_path, "forget", guest.uuid) == 0
    assert source.call("list_instances") == []
    assert command(target, tmp_path, "import", str(file)) == 1
    assert "instance.taken" in capsys.readouterr().err
    file.write_text("no JSON")
    assert command(target, tmp_path, "import", str(file)) == 1


def identities(rig: Rig, guest: Guest) -> set[tuple[Any, ...]]:
    kept = ("uuid", "alias", "serial", "address", "device_name", "unit", "boot_index", "tag")
    rows = rig.call("list_block_devices", instance_uuid=guest.uuid)
    return {tuple(row[name] for name in kept) for row in rows}


def found(guest: Guest) -> Guest:
    """Return the guest with a handle on the domain that was defined anew."""
    domain = guest.domain.connect().lookupByUUIDString(guest.uuid)
    return Guest(
        uri=guest.uri, uuid=guest.uuid, name=guest.name, domain=domain, console=guest.console
    )
