"""Instances that boot from their own disks, rescue images of each kind, and what a guest sees."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libvirt
from lxml import etree

from tests.bootable import Bootable, medium_word
from tests.functional.builders import Builder, put_image
from tests.guests import cached_guest_image, remove_guests
from tests.rig import Json, running
from worker.cmd.demo.guest import ConsoleReport, GuestConsole, GuestReport
from worker.model.ids import InstanceId, new_uuid
from worker.steps import Watch

KEPT = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
OWN, RESCUE, WIDE = "own", "rescue", "wide"
"""The media: the instance's own; one for rescue; one whose kernel also knows USB and SATA."""

SPOKEN = "SPOKEN-BY-A-FLOPPY"

# Firmware, loader and an emulated kernel, on a machine that has much else to do.
_BOOT = 180.0
# A guest that has just come up may not hear its button.
_PATIENCE: dict[str, Any] = {"hypervisor__shutdown_timeout": 10.0}

Place = tuple[str, str, int]
"""Where a guest sees a disk, by the path of sysfs, its serial and its size."""


def make_two_images(folder: Path) -> Bootable:
    """Fill the folder with a root, whose config drive is on scsi, and a rescue image."""
    made = folder.with_name("media")
    for each in (folder, made):
        each.mkdir(parents=True)
    small = Bootable(image=cached_guest_image(), folder=made)
    own, rescue = small.disk(OWN), small.disk(RESCUE)
    put_image(folder, "root", own, "raw", properties={"hw_cdrom_bus": "scsi"})
    put_image(folder, "virtio-disk", rescue, "raw", properties=_asking("virtio"))
    return small


def make_images(folder: Path) -> None:
    """Fill the folder with a root of each kind, and a rescue image for each device and bus."""
    small = make_two_images(folder)
    wide = Bootable(image=cached_guest_image("amd64"), folder=small.folder)
    own, rescue, rescue_cd = folder / "root", folder / "virtio-disk", small.cd(RESCUE)
    put_image(folder, "root-pc", own, "raw", properties={"hw_machine_type": "pc"})
    put_image(folder, "root-uefi", own, "raw", properties={"hw_firmware_type": "uefi"})
    put_image(folder, "root-cd", small.cd(OWN), "iso", properties={"hw_machine_type": "pc"})
    put_image(folder, "legacy", rescue, "raw")
    put_image(folder, "usb-disk", wide.disk(WIDE), "raw", properties=_asking("usb"))
    put_image(folder, "sata-cdrom", wide.cd(WIDE), "iso", properties=_asking("sata", "cdrom"))
    put_image(folder, "ide-cdrom", rescue_cd, "iso", properties=_asking("ide", "cdrom"))
    put_image(folder, "scsi-disk", rescue, "raw", properties=_asking("scsi", "disk"))
    put_image(folder, "floppy", small.floppy(SPOKEN), "raw", properties=_asking(None, "floppy"))
    # What is declared is not what it holds.
    put_image(folder, "liar", rescue, "qcow2", properties=_asking("usb"))


def _asking(bus: str | None, device: str | None = None) -> dict[str, str]:
    asked = {"hw_rescue_bus": bus, "hw_rescue_device": device}
    return {name: value for name, value in asked.items() if value is not None}


@contextmanager
def builder_of(images: Path, libvirtd: str, state: Path, *watches: Watch) -> Iterator[Builder]:
    """A worker with those images; its guests are gone when the block ends."""
    instances = state / "instances"
    options = _PATIENCE | {"image__folder": images, "image__instances_path": instances}
    bus, host = "kombu+memory://localhost/", f"host-{new_uuid()[:8]}"
    connection = libvirt.open(libvirtd)
    try:
        with running(state / host, libvirtd, bus=bus, host=host, watches=watches, **options) as rig:
            yield Builder(rig=rig, instances=instances, connection=connection)
    finally:
        connection.close()
        folders = instances.iterdir() if instances.exists() else ()
        remove_guests(libvirtd, [folder.name for folder in folders])


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """An instance that boots from its own disk; ``call`` and ``run`` are those of its worker."""

    uuid: InstanceId
    folder: Path
    connection: libvirt.virConnect
    call: Callable[..., Any]
    run: Callable[..., Json]

    @property
    def domain(self) -> libvirt.virDomain:
        return self.connection.lookupByUUIDString(self.uuid)

    @property
    def vm_state(self) -> str:
        return str(self.call("get_instance", instance_uuid=self.uuid)["vm_state"])

    def rescue(self, image: str, *, clean: bool = True, **more: object) -> None:
        self.do("rescue_instance", rescue_image_ref=image, clean_shutdown=clean, **more)

    def unrescue(self, *, clean: bool = True) -> None:
        self.do("unrescue_instance", clean_shutdown=clean)

    def do(self, method: str, **arguments: object) -> None:
        ended = self.try_to(method, **arguments)
        assert ended["fault"] is None, ended

    def try_to(self, method: str, **arguments: object) -> Json:
        self.forget_what_was_said()
        return self.run(method, instance_uuid=self.uuid, **arguments)

    def forget_what_was_said(self) -> None:
        """Have reports be of another boot, but for those of the medium that is left."""
        os.truncate(self.folder / "console.log", 0)

    def kept(self) -> str:
        """Return the persistent layout, to the byte."""
        text: str = self.domain.XMLDesc(KEPT)
        return text

    def files(self) -> set[Path]:
        return set(self.folder.iterdir())

    def said(self) -> str:
        """Return all that was said on the serial port since the last change."""
        return (self.folder / "console.log").read_text(errors="replace")

    def disks(self) -> dict[str, str]:
        """Return the whole of each disk that the hypervisor runs, but for its boot order.

        libvirt has those of one bus side by side.
        """
        found = etree.fromstring(self.domain.XMLDesc()).iterfind("devices/disk")
        return dict(map(_comparable, found))

    def report(self, medium: str, count: int) -> ConsoleReport:
        """Wait until the guest that booted from this medium sees so many disks."""
        return GuestConsole(self.folder / "console.log").wait_for_report(
            lambda told: (
                medium_word(medium) in told.command_line.split() and len(told.disks) == count
            ),
            _BOOT,
        )

    def sees(self, medium: str, count: int) -> dict[str, Place]:
        """Return the places of all disks in the guest, by its names for them."""
        return places(self.report(medium, count).disks)


def fill(builder: Builder, volume: str, content: Path) -> None:
    """Give a volume of the pool that content."""
    (file,) = builder.instances.parent.glob(f"*/volumes/*{volume}*")
    with file.open("r+b") as opened:
        opened.write(content.read_bytes())


def booted(builder: Builder, image: str | None, **wanted: object) -> Patient:
    """Build an instance that boots from its own disk; return it without a wait for its boot."""
    no_kernel = dict.fromkeys(("kernel_id", "ramdisk_id", "command_line"))
    uuid = InstanceId(new_uuid())
    ended = builder.build(uuid, image_ref=image, **no_kernel, **wanted)
    assert ended["fault"] is None, ended
    return Patient(
        uuid=uuid,
        folder=builder.instances / uuid,
        connection=builder.connection,
        call=builder.rig.call,
        run=builder.rig.run,
    )


def places(disks: Mapping[str, GuestReport]) -> dict[str, Place]:
    return {name: (disk.path, disk.serial, disk.size) for name, disk in disks.items()}


def _comparable(disk: etree._Element) -> tuple[str, str]:
    for boot in disk.findall("boot"):
        disk.remove(boot)
    # libvirt numbers what runs anew at each start.
    for part in (*disk.iter("backingStore"), *disk.iter("source")):
        part.attrib.pop("index", "")
    alias = disk.find("alias")
    assert alias is not None
    return str(alias.get("name")), etree.tostring(disk, encoding="unicode").strip()
