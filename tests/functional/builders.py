"""A worker that builds small real guests, and what such a guest sees of its disks."""

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
