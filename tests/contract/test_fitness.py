"""What the doctor says of a real libvirtd and its QEMU."""

import os
from collections.abc import Iterator

import pytest

from tests.contract.daemons import Victim, victim
from tests.guests import GuestMaker, guest_maker
from worker.cmd.demo.guest_image import GuestImage
from worker.errors import HypervisorUnavailable
from worker.model.block_device import Bus
from worker.model.finding import Verdict
from worker.model.ids import InstanceId, new_uuid
from worker.virt import fitness
from worker.virt.guests import LibvirtGuests
from worker.virt.libvirtd.connection import LibvirtConnection

Said = list[tuple[str, str]]


@pytest.fixture(scope="module")
def daemon() -> Iterator[Victim]:
    with victim() as made:
        yield made


@pytest.fixture(scope="module")
def connection(daemon: Victim) -> Iterator[LibvirtConnection]:
    opened = LibvirtConnection(daemon.start())
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def make_guest(
    daemon: Victim, guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GuestMaker]:
    with guest_maker(daemon.start(), guest_image, tmp_path_factory.mktemp("guests")) as make:
        yield make


def test_the_versions_are_told_and_compared(
    connection: LibvirtConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = fitness.versions(connection)
    assert [each.verdict for each in (first, second)] == [Verdict.OK, Verdict.OK]
    assert first.said.startswith("libvirt ")
    assert second.said.startswith("QEMU ")
    monkeypatch.setattr(fitness, "LEAST", {"libvirt": (99, 0, 0), "QEMU": (0, 0, 0)})
    too_old, _ = fitness.versions(connection)
    assert too_old.verdict is Verdict.FAILED
    assert "99.0 is the least" in too_old.said


def test_guests_of_a_private_libvirtd_of_root_are_unconfined(connection: LibvirtConnection) -> None:
    (found,) = fitness.confinement(connection)
    as_root = os.geteuid() == 0
    assert found.verdict is (Verdict.WARNING if as_root else Verdict.OK)
    assert ("run as root" in found.said) == as_root


def test_free_places_are_those_that_neither_a_layout_nor_a_row_has(
    connection: LibvirtConnection, make_guest: GuestMaker
) -> None:
    guest = make_guest(booted=False)
    instance = InstanceId(guest.uuid)
    guest.domain.create()
    layout = LibvirtGuests(connection).describe(instance).live
    assert layout is not None
    free = [place for place in layout.places[Bus.VIRTIO] if place not in layout.taken]
    assert free

    def said(*reserved: object) -> Said:
        found = fitness.free_places(connection, {instance: reserved}, seconds=60)  # type: ignore[dict-item]
        return [(each.verdict.value, each.said) for each in found]

    ((verdict, text),) = said()
    assert (verdict, f"disks: {len(free)}, {guest.domain.name()}" in text) == ("ok", True)
    ((_, text),) = said(free[0])
    assert f"disks: {len(free) - 1}, " in text
    ((verdict, text),) = said(*free)
    assert (verdict, "no place for another" in text) == ("warning", True)


def test_guests_that_are_gone_or_off_have_no_places(
    connection: LibvirtConnection, make_guest: GuestMaker
) -> None:
    guest = make_guest(booted=False)
    wanted = {InstanceId(guest.uuid): (), InstanceId(new_uuid()): ()}
    (found,) = fitness.free_places(connection, wanted, seconds=60)
    assert found.said == "no instance of this host runs"


def test_a_look_that_takes_too_long_says_how_far_it_came(connection: LibvirtConnection) -> None:
    first, *_ = fitness.free_places(connection, {InstanceId(new_uuid()): ()}, seconds=-1)
    assert (first.verdict, first.said) == (Verdict.WARNING, "looked at 0 of 1 guests")


def test_a_libvirt_that_does_not_answer_is_an_error() -> None:
    away = LibvirtConnection("qemu+unix:///system?socket=/nowhere/libvirt-sock", patience=0.1)
    with pytest.raises(HypervisorUnavailable):
        list(fitness.versions(away))
    away.close()


def test_a_block_driver_that_qemu_lacks_is_told_from_one_that_it_has() -> None:
    (said,) = fitness.block_drivers(("file", "nosuch"), needed={"file"})
    assert (said.verdict, said.said) == (Verdict.OK, "QEMU reaches by itself: file; not: nosuch")
    lacks, _ = fitness.block_drivers(("file", "nosuch"), needed={"nosuch"})
    assert lacks.verdict is Verdict.FAILED


def test_without_qemus_tool_that_is_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    (said,) = fitness.block_drivers(("file",), needed={"file"})
    assert (said.verdict, said.do) == (Verdict.FAILED, "install qemu-utils")


def test_a_private_libvirtd_that_is_down_needs_its_programs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert [each.verdict for each in fitness.installed()] == [Verdict.OK]
    monkeypatch.setattr(fitness, "SEARCHED", "/nowhere")
    *missing, _ = fitness.installed()
    assert [each.verdict for each in missing] == [Verdict.FAILED, Verdict.FAILED]
