"""Disks copied while their guest runs: what is promised, on the fake and on a real QEMU."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import libvirt
import pytest

from tests.contract.daemons import SOON
from tests.contract.hypervisors import LABS, FakeLab, Lab, LibvirtLab
from tests.fakes.block_copies import FakeBlockCopies
from worker.errors import HypervisorRefused
from worker.model.block_copy import BlockCopy
from worker.model.block_device import Bus, DeviceType
from worker.model.disk import Disk
from worker.model.guest import Guest
from worker.model.identity.lookup import disk_by_alias
from worker.model.ids import InstanceId, new_uuid
from worker.model.places.address import first_free
from worker.model.source import DiskOptions, FileSource
from worker.ports import BlockCopies
from worker.virt.block_copies import LibvirtBlockCopies

MIB = 1 << 20
SIZE = 8 * MIB
SLOW = MIB
"""Bytes a second: far more time than a test takes."""


@pytest.fixture(scope="module", params=LABS)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with LABS[request.param](request, tmp_path_factory.mktemp("lab")) as opened:
        yield opened


class Scene:
    """A guest with a disk, and a place to copy it to."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        self.instance, _ = lab.running()
        self.disk = self.made("old", SIZE, content=b"old" * 1000)
        lab.disks.attach(self.instance, self.disk)
        lab.wait_until_seen(self.instance, self.disk)

    def made(self, name: str, size: int, content: bytes = b"") -> Disk:
        path = self.folder / f"{name}-{new_uuid()}"
        path.write_bytes(content.ljust(size, b"\0"))
        volume = new_uuid()
        layout = self.describe().layouts[0]
        return Disk(
            alias=f"ua-{volume}",
            target="vdb",
            bus=Bus.VIRTIO,
            device_type=DeviceType.DISK,
            serial=volume,
            address=first_free(layout.places[Bus.VIRTIO], layout.taken),
            source=FileSource(path=str(path)),
            options=DiskOptions(),
        )

    def onto(self, name: str = "new", size: int = SIZE) -> Disk:
        """Return the guest's disk with another place for its content."""
        return replace(self.disk, source=self.made(name, size).source)

    def describe(self) -> Guest:
        return self.lab.guests.describe(self.instance)

    def sources(self) -> list[str | None]:
        found = [disk_by_alias(layout, self.disk.alias) for layout in self.describe().layouts]
        return [None if disk is None else disk.source for disk in found]


def copies_of(lab: Lab, rate: int = 0) -> BlockCopies:
    if isinstance(lab, FakeLab):
        return FakeBlockCopies(lab.world)
    assert isinstance(lab, LibvirtLab)
    return LibvirtBlockCopies(lab.connection, rate=lambda: rate)


@pytest.fixture
def scene(lab: Lab, tmp_path: Path) -> Scene:
    return Scene(lab, tmp_path)


def wait_until_ready(copies: BlockCopies, scene: Scene) -> BlockCopy:
    for _ in range(100_000):
        copy = copies.look(scene.instance, scene.disk.alias)
        assert copy.target is not None, copy
        if copy.ready:
            return copy
    raise AssertionError(copy)


def test_a_guest_goes_over_to_the_copy_and_all_else_of_the_disk_stays(scene: Scene) -> None:
    copies, new = copies_of(scene.lab), scene.onto()
    before = [disk_by_alias(layout, scene.disk.alias) for layout in scene.describe().layouts]
    copies.begin(scene.instance, new, SIZE)
    copies.begin(scene.instance, new, SIZE)
    ready = wait_until_ready(copies, scene)
    assert ready == BlockCopy(
        source=scene.disk.source.name, target=new.source.name, percent=100, ready=True
    )
    assert scene.sources() == [scene.disk.source.name] * 2
    copies.pivot(scene.instance, scene.disk.alias, new.source.name)
    copies.pivot(scene.instance, scene.disk.alias, new.source.name)
    copies.begin(scene.instance, new, SIZE)
    copies.abort(scene.instance, scene.disk.alias, new.source.name)
    copies.settle(scene.instance, new, SIZE)
    assert scene.sources() == [new.source.name] * 2
    assert copies.look(scene.instance, new.alias) == BlockCopy(source=new.source.name)
    for was, layout in zip(before, scene.describe().layouts, strict=True):
        now = disk_by_alias(layout, scene.disk.alias)
        assert now is not None
        assert was is not None
        assert {**now.facts, "source": ""} == {**was.facts, "source": ""}
    scene.lab.wait_until_seen(scene.instance, scene.disk)


def test_a_copy_that_is_aborted_leaves_the_guest_with_what_it_has(scene: Scene) -> None:
    copies, new = copies_of(scene.lab, SLOW), scene.onto()
    copies.begin(scene.instance, new, SIZE)
    copies.abort(scene.instance, scene.disk.alias, scene.onto("another").source.name)
    under_way = copies.look(scene.instance, scene.disk.alias)
    assert under_way.target == new.source.name
    assert not under_way.ready
    assert under_way.percent < 100
    with pytest.raises(HypervisorRefused):
        copies.pivot(scene.instance, scene.disk.alias, new.source.name)
    copies.abort(scene.instance, scene.disk.alias, new.source.name)
    copies.abort(scene.instance, scene.disk.alias, new.source.name)
    assert copies.look(scene.instance, scene.disk.alias) == BlockCopy(source=scene.disk.source.name)
    assert scene.sources() == [scene.disk.source.name] * 2


def test_a_disk_is_copied_to_one_place_at_a_time(scene: Scene) -> None:
    copies, new = copies_of(scene.lab, SLOW), scene.onto()
    copies.begin(scene.instance, new, SIZE)
    with pytest.raises(HypervisorRefused):
        copies.begin(scene.instance, scene.onto("another"), SIZE)
    assert copies.look(scene.instance, scene.disk.alias).target == new.source.name
    copies.abort(scene.instance, scene.disk.alias, new.source.name)


def test_what_does_not_run_or_is_not_there_is_not_copied(scene: Scene) -> None:
    copies, new = copies_of(scene.lab), scene.onto()
    nobody = InstanceId(new_uuid())
    assert copies.look(nobody, scene.disk.alias) == BlockCopy()
    assert copies.look(scene.instance, "ua-none") == BlockCopy()
    copies.abort(nobody, scene.disk.alias, new.source.name)
    copies.settle(nobody, scene.disk, SIZE)
    scene.lab.stop(scene.instance)
    with pytest.raises(HypervisorRefused):
        copies.begin(scene.instance, new, SIZE)
    copies.abort(scene.instance, scene.disk.alias, new.source.name)
    copies.settle(scene.instance, scene.disk, SIZE)
    assert copies.look(scene.instance, scene.disk.alias) == BlockCopy(source=scene.disk.source.name)


def test_a_guest_sees_all_of_a_larger_volume_once_it_has_gone_over(scene: Scene) -> None:
    copies, new = copies_of(scene.lab), scene.onto(size=2 * SIZE)
    copies.begin(scene.instance, new, 2 * SIZE)
    wait_until_ready(copies, scene)
    copies.pivot(scene.instance, scene.disk.alias, new.source.name)
    copies.settle(scene.instance, new, 2 * SIZE)
    copies.settle(scene.instance, new, 2 * SIZE)
    if isinstance(scene.lab, LibvirtLab):
        assert scene.lab.guest is not None
        scene.lab.guest.console.wait_for(
            lambda disks: any(disk.size == 2 * SIZE for disk in disks.values()), SOON
        )
        kept = scene.lab.guest.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        assert "<slice" not in kept
        assert (
            Path(new.source.name).read_bytes()[:SIZE] == Path(scene.disk.source.name).read_bytes()
        )
    assert scene.sources() == [new.source.name] * 2
