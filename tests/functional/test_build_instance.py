"""A real guest that the worker builds: what it sees of its disks is what the rows say."""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libvirt
import pytest

from tests.functional.rigs import MakeRig
from tests.guests import BOOT_TIMEOUT, remove_guests
from tests.rig import MIB, Json, Rig
from worker.cmd.demo.guest import KERNEL_ARGUMENTS, GuestConsole, GuestReport
from worker.cmd.demo.guest_image import GuestImage
from worker.model.ids import new_uuid

SEEN = 20
"""So many characters of a serial a guest sees of a virtio disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """A worker with a folder of images, and what builds a small guest on it."""

    rig: Rig
    instances: Path
    connection: libvirt.virConnect

    def build(self, instance: str, **changed: Any) -> Json:  # noqa: ANN401
        wanted = {
            "instance_uuid": instance,
            "name": f"test-{instance[:8]}",
            "vcpus": 1,
            "memory_mb": 160,
            "kernel_id": "kernel",
            "ramdisk_id": "ramdisk",
            "command_line": KERNEL_ARGUMENTS,
        }
        return self.rig.run("build_instance", **wanted | changed)

    def rows(self, instance: str) -> list[Json]:
        found: list[Json] = self.rig.call("list_block_devices", instance_uuid=instance)
        return found

    def console(self, instance: str) -> GuestConsole:
        return GuestConsole(self.instances / instance / "console.log")

    def seen(self, instance: str) -> dict[str, str]:
        """Wait until the guest tells of all its disks; return what serials begin with, by name."""
        expected = expected_serials(self.rows(instance))
        disks = self.console(instance).wait_for(
            lambda disks: expected.items() <= beginnings(disks).items(), BOOT_TIMEOUT
        )
        return beginnings(disks)

    def marks(self, instance: str) -> list[Json]:
        kept = ("uuid", "device_name", "alias", "serial", "address", "tag")
        return [{name: row[name] for name in kept} for row in self.rows(instance)]


def beginnings(disks: Mapping[str, GuestReport]) -> dict[str, str]:
    return {name: disk.serial[:SEEN] for name, disk in disks.items()}


def expected_serials(rows: list[Json]) -> dict[str, str]:
    return {row["device_name"].removeprefix("/dev/"): row["serial"][:SEEN] for row in rows}


def put_image(folder: Path, name: str, content: Path, disk_format: str, **more: Any) -> None:  # noqa: ANN401
    shutil.copyfile(content, folder / name)
    said = {"disk_format": disk_format, "name": name, **more}
    (folder / f"{name}.json").write_text(json.dumps(said))


@pytest.fixture
def builder(
    make_rig: MakeRig, libvirtd: str, guest_image: GuestImage, tmp_path: Path
) -> Iterator[Builder]:
    folder = tmp_path / "images"
    folder.mkdir()
    root = tmp_path / "root"
    root.write_bytes(b"")
    with root.open("r+b") as file:
        file.truncate(8 * MIB)
    put_image(folder, "root", root, "raw")
    put_image(folder, "kernel", guest_image.kernel, "aki")
    put_image(folder, "ramdisk", guest_image.initrd, "ari")
    instances = tmp_path / "instances"
    rig = make_rig(image__folder=str(folder), image__instances_path=str(instances))
    connection = libvirt.open(libvirtd)
    try:
        yield Builder(rig=rig, instances=instances, connection=connection)
    finally:
        ours = [path.name for path in instances.iterdir()] if instances.exists() else []
        connection.close()
        remove_guests(libvirtd, ours)


def test_every_disk_reports_its_serial_for_life(builder: Builder) -> None:
    rig, instance = builder.rig, new_uuid()
    volume, other = rig.volume(4 * MIB), rig.volume(4 * MIB)
    disks = [
        {"source_type": "volume", "volume_id": other, "disk_bus": "scsi"},
        {"source_type": "volume", "volume_id": volume, "tag": "data"},
    ]
    ended = builder.build(
        instance,
        image_ref="root",
        root_gb=1,
        ephemeral_gb=[1],
        swap_mb=16,
        block_devices=disks,
        networks=[{"port_id": new_uuid(), "kind": "user"}],
        config_drive=True,
    )
    assert ended["fault"] is None, ended
    assert rig.call("get_instance", instance_uuid=instance)["vm_state"] == "active"
    before = builder.marks(instance)
    assert [row["device_name"] for row in before] == [
        "/dev/sda", "/dev/vda", "/dev/vdb", "/dev/vdc", "/dev/vdd",
    ]  # fmt: skip
    first = builder.seen(instance)
    assert first["vda"] == before[1]["uuid"][:SEEN]
    assert first["vdd"] == volume[:SEEN]
    assert rig.call("find_drift", instance_uuid=instance)["differences"] == []

    gone = next(row for row in builder.rows(instance) if row["volume_id"] == other)
    assert rig.detach(gone)["fault"] is None
    ended = rig.run("reboot_instance", instance_uuid=instance, hard=True)
    assert ended["fault"] is None, ended
    builder.console(instance).fresh(BOOT_TIMEOUT)
    assert builder.marks(instance) == before[1:]
    again = builder.seen(instance)
    assert {name: again[name] for name in ("vda", "vdb", "vdc", "vdd")} == {
        name: first[name] for name in ("vda", "vdb", "vdc", "vdd")
    }

    ended = rig.run("destroy_instance", instance_uuid=instance)
    assert ended["fault"] is None, ended
    check_gone(builder, instance)
    assert rig.call("get_volume", volume_id=volume)["status"] == "available"


def test_an_instance_boots_from_a_volume_that_goes_with_it(builder: Builder) -> None:
    rig, instance = builder.rig, new_uuid()
    volume = rig.volume(4 * MIB)
    disk = {
        "source_type": "volume",
        "volume_id": volume,
        "boot_index": 0,
        "delete_on_termination": True,
    }
    ended = builder.build(instance, machine_type="pc", block_devices=[disk])
    assert ended["fault"] is None, ended
    assert builder.seen(instance)["vda"] == volume[:SEEN]
    builder.connection.lookupByUUIDString(instance).destroy()
    ended = rig.run("destroy_instance", instance_uuid=instance)
    assert ended["fault"] is None, ended
    check_gone(builder, instance)
    assert volume not in {found["id"] for found in rig.call("list_volumes")}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"image_ref": "nothing"}, "image.not_found"),
    ({"image_ref": "liar"}, "image.refused"),
    ({"image_ref": "root", "root_gb": 1 << 30}, "host.no_room"),
    ({"image_ref": "root", "machine_type": "q36"}, "instance.machine_unsupported"),
    (
        {
            "image_ref": "root",
            "block_devices": [{"source_type": "blank", "size": MIB, "disk_bus": "ide"}],
        },
        "block_device.bus_unsupported",
    ),
]


def test_what_is_refused_leaves_nothing(builder: Builder, tmp_path: Path) -> None:
    put_image(tmp_path / "images", "liar", tmp_path / "root", "qcow2")
    for changed, code in REFUSED:
        instance = new_uuid()
        ended = builder.build(instance, **changed)
        assert ended["fault"] is not None
        assert ended["fault"]["code"] == code
        check_gone(builder, instance)
        event = builder.rig.wait_for_event("instance.build.error", ended["operation_id"])
        assert event["payload"]["fault"]["code"] == code


def test_a_name_that_a_domain_has_is_refused(builder: Builder) -> None:
    domain = builder.connection.defineXML(
        f"<domain type='qemu'><name>taken</name><uuid>{new_uuid()}</uuid><memory>65536</memory>"
        "<os><type arch='x86_64'>hvm</type></os></domain>"
    )
    try:
        instance = new_uuid()
        ended = builder.build(instance, image_ref="root", name="taken")
        assert ended["fault"]["code"] == "domain.taken"
        check_gone(builder, instance)
    finally:
        domain.undefine()


def check_gone(builder: Builder, instance: str) -> None:
    known = {domain.UUIDString() for domain in builder.connection.listAllDomains()}
    assert instance not in known
    assert not (builder.instances / instance).exists()
    assert instance not in {row["uuid"] for row in builder.rig.call("list_instances")}
