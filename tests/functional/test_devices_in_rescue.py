"""Devices of a real guest in rescue: nothing changes, or both layouts do where that is allowed."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import libvirt
import pytest
from lxml import etree

from tests.functional.builders import SEEN, Builder, put_image
from tests.guests import BOOT_TIMEOUT, remove_guests
from tests.rig import MIB, Json, running
from worker.cmd.demo.guest import KERNEL_ARGUMENTS
from worker.cmd.demo.guest_image import GuestImage
from worker.errors import InstanceRescued
from worker.model.ids import InstanceId, new_uuid
from worker.model.rescue.words import rescue_alias

pytestmark = pytest.mark.timeout(300)

KEPT = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
RESCUE_WORD = "told.by=rescue"
MAC = "52:54:00:7e:5c:0e"
CHANGING = {
    "detach_volume": ("volume_id",),
    "attach_interface": ("port_id", "network"),
    "repair_drift": (),
}

MakeBuilder = Callable[[bool], AbstractContextManager[Builder]]


def make_images(folder: Path, guest_image: GuestImage) -> None:
    """A root without a content, and rescue images that are booted by a kernel of their own."""
    folder.mkdir()
    root = folder.with_name("root")
    root.write_bytes(bytes(8 * MIB))
    put_image(folder, "root", root, "raw")
    put_image(folder, "kernel", guest_image.kernel, "aki")
    put_image(folder, "ramdisk", guest_image.initrd, "ari")
    booted = {
        "kernel_id": "kernel",
        "ramdisk_id": "ramdisk",
        "os_command_line": f"{KERNEL_ARGUMENTS} {RESCUE_WORD}",
    }
    put_image(folder, "legacy", root, "raw", properties=booted)
    put_image(folder, "virtio", root, "raw", properties=booted | {"hw_rescue_bus": "virtio"})


@contextmanager
def builder_of(images: Path, libvirtd: str, state: Path, allowed: bool) -> Iterator[Builder]:  # noqa: FBT001
    """A worker of its own, and an API tier that may change devices in rescue, or may not."""
    host = f"host-{new_uuid()[:8]}"
    instances = state / f"instances-{host}"
    connection = libvirt.open(libvirtd)
    try:
        with running(
            state / host,
            libvirtd,
            bus="kombu+memory://localhost/",
            host=host,
            image__folder=str(images),
            image__instances_path=str(instances),
            allow_block_operations_in_rescue=allowed,
        ) as rig:
            yield Builder(rig=rig, instances=instances, connection=connection)
    finally:
        connection.close()
        ours = [path.name for path in instances.iterdir()] if instances.exists() else []
        remove_guests(libvirtd, ours)


@pytest.fixture(scope="module")
def make_builder(
    libvirtd: str, guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory
) -> MakeBuilder:
    folder = tmp_path_factory.mktemp("in-rescue")
    make_images(folder / "images", guest_image)
    return partial(builder_of, folder / "images", libvirtd, folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """An instance with a local root, a volume and a config drive."""

    builder: Builder
    uuid: str

    @property
    def domain(self) -> libvirt.virDomain:
        return self.builder.connection.lookupByUUIDString(self.uuid)

    def live(self) -> str:
        return str(self.domain.XMLDesc())

    def kept(self) -> str:
        return str(self.domain.XMLDesc(KEPT))

    def row_of(self, volume: str) -> Json:
        return next(row for row in self.builder.rows(self.uuid) if row["volume_id"] == volume)

    def run(self, method: str, **arguments: object) -> Json:
        return self.builder.rig.run(method, instance_uuid=self.uuid, **arguments)

    def done(self, method: str, **arguments: object) -> None:
        ended = self.run(method, **arguments)
        assert ended["fault"] is None, ended

    @property
    def rescue_alias(self) -> str:
        return rescue_alias(InstanceId(self.uuid))

    def rescue(self, image: str) -> None:
        asked = {"rescue_image_ref": image, "rescue_password": "sesame"}
        self.done("rescue_instance", **asked, clean_shutdown=False)

    def unrescue(self) -> None:
        self.done("unrescue_instance", clean_shutdown=False)

    def attach(self, **arguments: object) -> Json:
        volume = self.builder.rig.volume(4 * MIB)
        return self.builder.rig.attach(self.uuid, volume, **arguments)

    def give_aliases_back(self, alias: str) -> None:
        """Take an alias from the next start as other hands would, and have it given again."""
        self.builder.connection.defineXML(self.kept().replace(f"<alias name='{alias}'/>", ""))
        assert alias not in self.kept()
        self.done("migrate_aliases")

    def drift(self) -> tuple[list[Json], int]:
        """Return what differs, and how many disks are nobody's, by hypervisor and QEMU alike."""
        found = self.builder.rig.call("find_drift", instance_uuid=self.uuid, qemu=True)
        return found["differences"], found["foreign"]

    def sees(self, serial: str, *, in_rescue: bool, there: bool = True) -> list[tuple[str, int]]:
        """Wait until the guest that runs now has the disk, or has not; return address and size."""
        wanted = serial[:SEEN]
        told = self.builder.console(self.uuid).wait_for_report(
            lambda report: (
                (RESCUE_WORD in report.command_line.split()) is in_rescue
                and any(disk.serial[:SEEN] == wanted for disk in report.disks.values()) is there
            ),
            BOOT_TIMEOUT,
        )
        # The last part of the path is a number that the guest gives as it finds its disks.
        return [
            (disk.path.rpartition("/")[0], disk.size)
            for disk in told.disks.values()
            if disk.serial[:SEEN] == wanted
        ]


def places(text: str) -> dict[str, tuple[str, str]]:
    """Return name and address of each disk of a domain, by alias."""
    found = {}
    for disk in etree.fromstring(text).iterfind("devices/disk"):
        alias, target, address = (disk.find(name) for name in ("alias", "target", "address"))
        assert alias is not None
        assert target is not None
        where = "" if address is None else etree.tostring(address, encoding="unicode").strip()
        found[str(alias.get("name"))] = (str(target.get("dev")), where)
    return found


def built(builder: Builder) -> tuple[Patient, Json]:
    patient, volume = Patient(builder=builder, uuid=new_uuid()), builder.rig.volume(4 * MIB)
    ended = builder.build(
        patient.uuid,
        image_ref="root",
        root_gb=1,
        config_drive=True,
        block_devices=[{"source_type": "volume", "volume_id": volume}],
    )
    assert ended["fault"] is None, ended
    return patient, patient.row_of(volume)


def test_what_comes_and_goes_in_rescue_is_so_in_the_normal_guest_too(
    make_builder: MakeBuilder,
) -> None:
    with make_builder(True) as builder:  # noqa: FBT003
        patient, data = built(builder)
        for image in ("virtio", "legacy"):
            data = comes_and_goes(patient, data, image)


def comes_and_goes(patient: Patient, data: Json, image: str) -> Json:
    """Attach a disk in rescue, and detach another; return the one that is there afterwards."""
    patient.rescue(image)
    assert patient.drift() == ([], 0)
    before = places(patient.live())[patient.rescue_alias]

    new = patient.attach()
    seen = patient.sees(new["serial"], in_rescue=True)
    assert places(patient.live())[new["alias"]] == places(patient.kept())[new["alias"]]
    assert patient.drift() == ([], 0)

    ended = patient.builder.rig.detach(data)
    assert ended["fault"] is None, ended
    patient.sees(data["serial"], in_rescue=True, there=False)
    assert data["alias"] not in places(patient.live()) | places(patient.kept())
    assert patient.drift() == ([], 0)
    assert places(patient.live())[patient.rescue_alias] == before
    kept = places(patient.kept())

    patient.unrescue()
    normal = patient.sees(new["serial"], in_rescue=False)
    assert normal == seen
    assert places(patient.live()) == kept
    assert patient.drift() == ([], 0)
    return new


def test_a_rescue_guest_that_is_off_keeps_its_places(make_builder: MakeBuilder) -> None:
    with make_builder(True) as builder:  # noqa: FBT003
        patient, data = built(builder)
        patient.rescue("virtio")
        own = places(patient.live())[patient.rescue_alias]
        patient.domain.destroy()
        assert patient.drift() == ([], 0)

        new = patient.attach(disk_bus="virtio")
        patient.done("attach_interface", port_id=new_uuid(), network="user", mac_address=MAC)
        assert own[0] != new["device_name"].removeprefix("/dev/")
        assert own[1] not in patient.kept()
        assert patient.drift() == ([], 0)

        patient.give_aliases_back(data["alias"])
        assert data["alias"] in places(patient.kept())

        patient.domain.detachDeviceAlias(data["alias"], libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        assert [each["kind"] for each in patient.drift()[0]] == ["persistent_missing"]
        patient.done("repair_drift")

        patient.unrescue()
        assert {new["alias"], data["alias"]} <= set(places(patient.live()))
        assert MAC in patient.live()
        assert patient.drift() == ([], 0)


def test_without_leave_nothing_changes_in_rescue(make_builder: MakeBuilder) -> None:
    with make_builder(False) as builder:  # noqa: FBT003
        patient, data = built(builder)
        patient.rescue("virtio")
        before = (patient.live(), patient.kept(), builder.rows(patient.uuid))
        given = {"volume_id": data["volume_id"], "port_id": new_uuid(), "network": "user"}

        for method, names in CHANGING.items():
            ended = patient.run(method, **{name: given[name] for name in names})
            assert ended["fault"]["code"] == "instance.rescued", ended
        with pytest.raises(InstanceRescued):
            builder.rig.reserve(patient.uuid, builder.rig.volume(4 * MIB))

        assert (patient.live(), patient.kept(), builder.rows(patient.uuid)) == before
        patient.give_aliases_back(data["alias"])
        assert (patient.live(), patient.kept()) == before[:2]
        patient.unrescue()
        assert patient.drift() == ([], 0)
