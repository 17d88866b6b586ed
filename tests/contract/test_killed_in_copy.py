"""A libvirtd that is killed while a disk is copied: QEMU goes on, and is agreed with afterwards."""

import time
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from tests.contract.daemons import SOON, Victim, victim
from tests.contract.hypervisors import LibvirtLab
from tests.contract.test_block_copies import SIZE, SLOW, Scene, copies_of
from tests.guests import Guest, found_again, guest_maker
from worker.cmd.demo.guest_image import GuestImage
from worker.model.block_copy import BlockCopy
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.qemu.monitor import ask

_PIVOT_AND_LEAVE = (
    libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT | libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_ASYNC
)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Victim]:
    with victim() as made:
        yield made


@pytest.fixture(scope="module")
def lab(
    daemon: Victim, guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LibvirtLab]:
    with guest_maker(daemon.start(), guest_image, tmp_path_factory.mktemp("lab")) as make:
        connection = LibvirtConnection(daemon.start(), patience=5.0, reopen_interval=0.2)
        yield LibvirtLab(make, connection)
        connection.close()


@pytest.fixture
def scene(daemon: Victim, lab: LibvirtLab, tmp_path: Path) -> Scene:
    daemon.start()
    if lab.guest is not None:
        lab.guest = found_again(lab.guest)
    return Scene(lab, tmp_path)


def guest_of(scene: Scene) -> Guest:
    assert isinstance(scene.lab, LibvirtLab)
    assert scene.lab.guest is not None
    return found_again(scene.lab.guest)


def until(scene: Scene, wanted: BlockCopy) -> None:
    copies, end = copies_of(scene.lab), time.monotonic() + SOON
    while (seen := copies.look(scene.instance, scene.disk.alias)) != wanted:
        assert time.monotonic() < end, seen
        time.sleep(0.1)


def hurry(scene: Scene) -> None:
    """Let a slow copy be as fast as it can, and wait until it is whole."""
    guest_of(scene).domain.blockJobSetSpeed(scene.disk.target, 0, 0)
    copies, end = copies_of(scene.lab), time.monotonic() + SOON
    while not copies.look(scene.instance, scene.disk.alias).ready:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_copy_goes_on_without_its_libvirtd(scene: Scene, daemon: Victim) -> None:
    copies, new = copies_of(scene.lab, SLOW), scene.onto()
    copies.begin(scene.instance, new, SIZE)
    daemon.kill()
    daemon.start()
    assert copies.look(scene.instance, scene.disk.alias).target == new.source.name
    copies.begin(scene.instance, new, SIZE)
    hurry(scene)
    copies.pivot(scene.instance, scene.disk.alias, new.source.name)
    assert scene.sources() == [new.source.name] * 2


def test_a_copy_is_aborted_by_the_next_libvirtd(scene: Scene, daemon: Victim) -> None:
    copies, new = copies_of(scene.lab, SLOW), scene.onto()
    copies.begin(scene.instance, new, SIZE)
    daemon.kill()
    daemon.start()
    copies.abort(scene.instance, scene.disk.alias, new.source.name)
    until(scene, BlockCopy(source=scene.disk.source.name))
    opened = {node["file"] for node in ask(guest_of(scene).domain, "query-named-block-nodes")}
    assert new.source.name not in opened


def test_a_guest_that_went_over_is_seen_to_have_done_so(scene: Scene, daemon: Victim) -> None:
    copies, new = copies_of(scene.lab), scene.onto()
    copies.begin(scene.instance, new, SIZE)
    hurry(scene)
    guest_of(scene).domain.blockJobAbort(scene.disk.target, _PIVOT_AND_LEAVE)
    daemon.kill()
    daemon.start()
    copies.pivot(scene.instance, scene.disk.alias, new.source.name)
    until(scene, BlockCopy(source=new.source.name))
    assert scene.sources() == [new.source.name] * 2


def test_a_copy_that_libvirt_knows_nothing_of_makes_room_for_another(
    scene: Scene, daemon: Victim
) -> None:
    """As of a libvirtd that died before it had written down what QEMU was told."""
    copies, new = copies_of(scene.lab), scene.onto()
    domain = guest_of(scene).domain
    device = next(
        block["inserted"]["node-name"]
        for block in ask(domain, "query-block")
        if scene.disk.alias in block["qdev"]
    )
    for node in (
        {"driver": "file", "filename": new.source.name, "node-name": "libvirt-80-storage"},
        {"driver": "raw", "file": "libvirt-80-storage", "node-name": "libvirt-80-format"},
    ):
        ask(domain, "blockdev-add", node)
    job = f"copy-{scene.disk.target}-{device}"
    copy = {"job-id": job, "device": device, "target": "libvirt-80-format", "sync": "full"}
    ask(domain, "blockdev-mirror", {**copy, "auto-dismiss": False})
    scene.lab.doubt(scene.instance)
    copies.begin(scene.instance, new, SIZE)
    hurry(scene)
    copies.pivot(scene.instance, scene.disk.alias, new.source.name)
    assert scene.sources() == [new.source.name] * 2
    assert ask(guest_of(scene).domain, "query-jobs") == []


def test_a_copy_that_libvirt_knows_nothing_of_is_ended(scene: Scene, daemon: Victim) -> None:
    copies, new = copies_of(scene.lab), scene.onto()
    domain = guest_of(scene).domain
    scene.lab.doubt(scene.instance)
    copies.abort(scene.instance, scene.disk.alias, new.source.name)
    assert ask(domain, "query-jobs") == []
    assert scene.sources() == [scene.disk.source.name] * 2
