"""Guests that boot from their own disks, and in rescue: each disk is where it always is."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import libvirt
import pytest
from lxml import etree

from tests.chaos.stage import soon
from tests.functional.builders import SEEN, Builder
from tests.functional.rescues import (
    OWN,
    RESCUE,
    SPOKEN,
    WIDE,
    Patient,
    Place,
    booted,
    builder_of,
    fill,
    make_images,
)
from tests.processes import SOON
from tests.rig import MIB
from worker.model.rescue.words import rescue_alias

pytestmark = pytest.mark.timeout(600)

Seen = dict[str, Place]


@dataclass(kw_only=True)
class Spoiler:
    """A watch that spoils what a rescue has made, right before its guest is started."""

    folder: Path | None = None
    known: set[Path] = field(default_factory=set)
    spoilt: list[Path] = field(default_factory=list)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        if name == "rescues.start" and self.folder is not None:
            self.spoilt = sorted(set(self.folder.iterdir()) - self.known)
            for file in self.spoilt:
                file.write_text("no disk")
        yield

    @contextmanager
    def within(self, folder: Path) -> Iterator[None]:
        """Spoil what is new in the folder."""
        self.folder, self.known = folder, set(folder.iterdir())
        yield
        self.folder = None


@pytest.fixture(scope="module")
def spoiler() -> Spoiler:
    return Spoiler()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rescue") / "images"
    make_images(folder)
    return folder


@pytest.fixture(scope="module")
def builder(libvirtd: str, images: Path, spoiler: Spoiler) -> Iterator[Builder]:
    with builder_of(images, libvirtd, images.parent, spoiler) as found:
        yield found


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """An instance, and what was true of it before it was ever in rescue."""

    patient: Patient
    seen: Seen
    disks: dict[str, str]
    kept: str
    files: set[Path]


def known(patient: Patient, count: int) -> Known:
    seen = patient.sees(OWN, count)
    kept, files = patient.kept(), patient.files()
    return Known(patient=patient, seen=seen, disks=patient.disks(), kept=kept, files=files)


@pytest.fixture(scope="module")
def q35(builder: Builder) -> Known:
    """Root, ephemeral, swap, a volume each on scsi and virtio, and a config drive on scsi.

    A volume in the middle was detached: what is placed or numbered anew there moves the last one.
    That on scsi is encrypted, the last may be shared.
    """
    scsi, gone = builder.rig.volume(6 * MIB, encrypted=True), builder.rig.volume(5 * MIB)
    last = builder.rig.volume(6 * MIB, multiattach=True)
    volumes = [
        {"source_type": "volume", "volume_id": scsi, "disk_bus": "scsi"},
        {"source_type": "volume", "volume_id": gone},
        {"source_type": "volume", "volume_id": last},
    ]
    patient = booted(
        builder,
        "root",
        ephemeral_gb=[1],
        swap_mb=16,
        block_devices=volumes,
        config_drive=True,
    )
    patient.do("stop_instance", clean_shutdown=False)
    patient.do("detach_volume", volume_id=gone)
    patient.do("start_instance")
    return known(patient, 6)


@pytest.fixture(scope="module")
def pc(builder: Builder) -> Known:
    """Root, a volume, and a config drive on IDE, where the machine has it."""
    volume = {"source_type": "volume", "volume_id": builder.rig.volume(4 * MIB)}
    patient = booted(builder, "root-pc", block_devices=[volume], config_drive=True)
    return known(patient, 3)


def check_in_rescue(before: Known) -> libvirt.virDomain:
    """See that the hypervisor has each disk where it was, and the rescue disk after its like."""
    patient = before.patient
    assert patient.vm_state == "rescued"
    assert patient.kept() == before.kept
    alias, running = rescue_alias(patient.uuid), patient.disks()
    assert running.keys() == before.disks.keys() | {alias}
    assert {name: running[name] for name in before.disks} == before.disks
    assert [each for each in running if bus_of(running[each]) == bus_of(running[alias])][
        -1
    ] == alias
    orders = etree.fromstring(patient.domain.XMLDesc()).iterfind("devices//boot[@order]")
    assert [(boot.get("order"), alias_of(boot.getparent())) for boot in orders] == [("1", alias)]
    return patient.domain


def bus_of(disk: str) -> str:
    target = etree.fromstring(disk).find("target")
    assert target is not None
    return str(target.get("bus"))


def alias_of(device: etree._Element | None) -> str:
    alias = None if device is None else device.find("alias")
    assert alias is not None
    return str(alias.get("name"))


def check_as_before(before: Known) -> None:
    """See that the guest runs and sees what it always has, and that nothing is left behind."""
    patient = before.patient
    assert patient.vm_state == "active"
    assert patient.kept() == before.kept
    assert patient.disks() == before.disks
    assert patient.files() == before.files
    assert patient.sees(OWN, len(before.seen)) == before.seen


def added(before: Seen, now: Seen) -> dict[str, Place]:
    """Return what is new, the rest being what it was."""
    assert {name: place for name, place in now.items() if name in before} == before
    return {name: place for name, place in now.items() if name not in before}


@pytest.mark.parametrize(
    ("image", "medium", "there"),
    [
        ("usb-disk", WIDE, ("sdb", "/usb")),
        pytest.param("sata-cdrom", WIDE, ("sr1", "/ata"), marks=pytest.mark.long),
        pytest.param("scsi-disk", RESCUE, ("sdb", "/target0:0:0/0:0:0:2"), marks=pytest.mark.long),
        pytest.param("virtio-disk", RESCUE, ("vde", "/virtio"), marks=pytest.mark.long),
    ],
    ids=["usb-disk", "sata-cdrom", "scsi-disk", "virtio-disk"],
)
def test_no_disk_moves_while_the_guest_boots_from_another(
    q35: Known, images: Path, image: str, medium: str, there: tuple[str, str]
) -> None:
    name, where = there
    patient = q35.patient
    patient.rescue(image)
    check_in_rescue(q35)
    new = added(q35.seen, patient.sees(medium, 7))
    assert set(new) == {name}
    path, _serial, size = new[name]
    assert where in path
    assert size == (images / image).stat().st_size

    patient.unrescue()
    check_as_before(q35)


@pytest.mark.long
def test_no_disk_moves_beside_a_cd_on_ide(pc: Known) -> None:
    patient = pc.patient
    patient.rescue("ide-cdrom")
    check_in_rescue(pc)
    assert set(added(pc.seen, patient.sees(RESCUE, 4))) == {"sr1"}

    patient.unrescue()
    check_as_before(pc)


@pytest.mark.long
def test_a_floppy_is_booted_from(pc: Known) -> None:
    patient = pc.patient
    patient.rescue("floppy")
    check_in_rescue(pc)
    assert soon(lambda: SPOKEN in patient.said(), SOON)

    patient.unrescue(clean=False)
    check_as_before(pc)


@pytest.mark.long
def test_without_properties_the_rescue_disk_is_first_and_the_root_second(
    pc: Known, images: Path
) -> None:
    patient = pc.patient
    patient.rescue("legacy")
    assert patient.kept() == pc.kept
    seen = patient.sees(RESCUE, 3)
    assert seen["sr0"] == pc.seen["sr0"]
    # Where the root always is, there is the rescue disk, with a serial of its own.
    assert seen["vda"][0] == pc.seen["vda"][0]
    assert seen["vda"][2] == (images / "legacy").stat().st_size
    assert seen["vda"][1] not in serials(pc.seen)
    assert seen["vdb"][1:] == pc.seen["vda"][1:]

    patient.unrescue()
    check_as_before(pc)


def serials(seen: Seen) -> list[str]:
    return [serial for _path, serial, _size in seen.values()]


def test_an_image_that_lies_leaves_the_guest_running(q35: Known) -> None:
    patient = q35.patient
    ran = patient.sees(OWN, 6), patient.domain.ID()
    ended = patient.try_to("rescue_instance", rescue_image_ref="liar")
    assert ended["fault"]["code"] == "image.refused"
    assert (patient.sees(OWN, 6), patient.domain.ID()) == ran
    check_as_before(q35)


def test_a_rescue_that_does_not_start_brings_the_guest_back(
    builder: Builder, q35: Known, spoiler: Spoiler
) -> None:
    patient = q35.patient
    with spoiler.within(patient.folder):
        ended = patient.try_to("rescue_instance", rescue_image_ref="scsi-disk")
    assert ended["state"] == "failed"
    assert ended["fault"]["code"] == "hypervisor.refused"
    assert len(spoiler.spoilt) == 1
    told = builder.rig.wait_for_event("instance.rescue.error", ended["operation_id"])
    assert told["payload"]["fault"]["code"] == "hypervisor.refused"
    check_as_before(q35)


def test_a_stopped_guest_stays_stopped(q35: Known) -> None:
    patient = q35.patient
    patient.do("stop_instance")
    assert not patient.domain.isActive()
    patient.rescue("virtio-disk")
    check_in_rescue(q35)
    patient.unrescue(clean=False)
    assert not patient.domain.isActive()
    assert patient.vm_state == "stopped"
    assert patient.kept() == q35.kept
    assert patient.files() == q35.files

    patient.do("start_instance")
    check_as_before(q35)


def test_an_instance_that_boots_from_a_volume_is_rescued(builder: Builder, images: Path) -> None:
    volume = builder.rig.volume(64 * MIB)
    fill(builder, volume, images / "root")
    root = {"source_type": "volume", "volume_id": volume, "boot_index": 0}
    before = known(booted(builder, None, block_devices=[root]), 1)
    assert before.seen["vda"][1] == volume[:SEEN]
    patient = before.patient

    patient.rescue("virtio-disk")
    check_in_rescue(before)
    assert set(added(before.seen, patient.sees(RESCUE, 2))) == {"vdb"}
    patient.unrescue()
    check_as_before(before)

    patient.rescue("legacy")
    assert patient.sees(RESCUE, 2)["vdb"][1:] == before.seen["vda"][1:]
    patient.unrescue()
    check_as_before(before)


def test_an_instance_that_boots_by_uefi_is_rescued_by_it(builder: Builder) -> None:
    before = known(booted(builder, "root-uefi"), 1)
    before.patient.rescue("virtio-disk")
    check_in_rescue(before)
    assert set(added(before.seen, before.patient.sees(RESCUE, 2))) == {"vdb"}
    before.patient.unrescue()
    check_as_before(before)


@pytest.mark.long
def test_an_instance_that_boots_from_a_cd_is_rescued(builder: Builder) -> None:
    before = known(booted(builder, "root-cd"), 1)
    patient = before.patient
    # A root that is no disk keeps its place in legacy mode, too.
    for image in ("virtio-disk", "legacy"):
        patient.rescue(image, clean=False)
        check_in_rescue(before)
        assert set(added(before.seen, patient.sees(RESCUE, 2))) == {"vda"}
        patient.unrescue()
    check_as_before(before)
