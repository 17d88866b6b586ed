"""QEMU's tool and driver on a real target, and libvirt on what is written for it."""

from collections.abc import Iterator

import libvirt
import pytest

from tests.fakes.volume_service import FakeConnector
from tests.fakes.world import World
from tests.guests import GuestMaker
from tests.targets import LUN, NOBODY, Target, connection_to, iqn_of, iscsi_target
from worker.errors import ConnectFailed
from worker.model.block_device import Bus, DeviceType
from worker.model.disk import Disk
from worker.model.ids import VolumeId, new_uuid
from worker.model.places.address import DriveAddress
from worker.model.source import IscsiSource
from worker.virt.likeness import differences
from worker.virt.xml.disk import disk_element
from worker.virt.xml.layout import read_layout
from worker.volume.qemu_initiator import QemuInitiator

ME = "iqn.2026-11.org.example.test:me"
SIZE = 5 << 20
PASSWORD = "sesame,open-7391"


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with iscsi_target() as found:
        yield found


@pytest.fixture
def volume(target: Target) -> VolumeId:
    made = VolumeId(new_uuid())
    target.add(made, SIZE)
    target.allow(made, ME)
    return made


def initiator(name: str = ME, timeout: float = 30.0) -> QemuInitiator:
    return QemuInitiator(FakeConnector(World()), name=name, timeout=timeout)


def test_the_size_is_the_targets_word(target: Target, volume: VolumeId) -> None:
    connector = initiator()
    assert connector.examine(connector.connect(connection_to(volume, target.port))).size == SIZE
    target.wait_for_no_session(volume)


def test_the_format_of_what_is_written_into_a_volume_is_not_looked_at(
    target: Target, volume: VolumeId
) -> None:
    """A guest could else have the host read any size, or any file, by a header of its own."""
    with (target.folder / volume).open("r+b") as backing:
        backing.write(b"QFI\xfb\x00\x00\x00\x03" + bytes(16) + (SIZE * 9).to_bytes(8, "big"))
    connector = initiator()
    assert connector.examine(connector.connect(connection_to(volume, target.port))).size == SIZE


def test_who_is_not_let_in_is_told_so(target: Target, volume: VolumeId) -> None:
    connector = initiator(NOBODY)
    with pytest.raises(ConnectFailed, match=f"{iqn_of(volume)}/{LUN} with qemu-img: "):
        connector.examine(connector.connect(connection_to(volume, target.port)))


def test_who_knows_the_password_is_let_in(target: Target, volume: VolumeId) -> None:
    target.ask_password(volume, "them", PASSWORD)
    connection = target.with_password(connection_to(volume, target.port), "them", PASSWORD)
    connector = initiator()
    assert connector.examine(connector.connect(connection)).size == SIZE


@pytest.mark.parametrize("said", ["not-it-not-it", None])
def test_who_does_not_is_not_and_the_password_is_not_shown(
    said: str | None, target: Target, volume: VolumeId
) -> None:
    target.ask_password(volume, "them", PASSWORD)
    connection = connection_to(volume, target.port)
    if said is not None:
        connection = target.with_password(connection, "them", said)
    connector = initiator()
    with pytest.raises(ConnectFailed, match="qemu-img") as refused:
        connector.examine(connector.connect(connection))
    assert str(said) not in str(refused.value)


def test_a_lun_that_is_not_there_is_not_found(target: Target, volume: VolumeId) -> None:
    connector = initiator()
    with pytest.raises(ConnectFailed, match="qemu-img"):
        connector.examine(connector.connect(connection_to(volume, target.port, lun=7)))


def test_a_portal_that_is_not_there_is_an_error(volume: VolumeId) -> None:
    connector = initiator()
    with pytest.raises(ConnectFailed, match="qemu-img"):
        connector.examine(connector.connect(connection_to(volume, port=1)))


def test_a_portal_that_does_not_answer_is_not_waited_for_for_ever(
    target: Target, volume: VolumeId
) -> None:
    connector = initiator(timeout=0.001)
    with pytest.raises(ConnectFailed, match=r"no answer within 0\.001 s"):
        connector.examine(connector.connect(connection_to(volume, target.port)))


def test_without_the_tool_it_is_named(
    target: Target, volume: VolumeId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    connector = initiator()
    with pytest.raises(ConnectFailed, match="qemu-img"):
        connector.examine(connector.connect(connection_to(volume, target.port)))


@pytest.mark.parametrize("kind", [DeviceType.LUN, DeviceType.DISK])
@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7"])
def test_libvirt_takes_what_is_written_and_shows_it_again(
    kind: DeviceType, host: str, make_guest: GuestMaker
) -> None:
    guest = make_guest(booted=False)
    disk = a_disk(kind, host)
    guest.domain.attachDeviceFlags(disk_element(disk), libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    kept = guest.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    guest.domain.connect().defineXMLFlags(kept, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    (shown,) = read_layout(guest.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)).disks
    assert differences(shown, disk) == []
    assert shown.device == kind.value
    assert differences(shown, a_disk(DeviceType.CDROM, host)) != []


def a_disk(kind: DeviceType, host: str) -> Disk:
    connection = connection_to(new_uuid(), 3260)
    source = initiator().connect(connection)
    assert isinstance(source.source, IscsiSource)
    return Disk(
        alias="ua-2b1c8a52-0a52-4c8c-8f5b-3d3e6d9e0001",
        target="sda",
        bus=Bus.SCSI,
        device_type=kind,
        serial="2b1c8a52-0a52-4c8c-8f5b-3d3e6d9e0001",
        address=DriveAddress(kind="scsi", unit=0),
        source=IscsiSource(
            host=host, port=3260, iqn="iqn.2026-11.org.example:a", lun=4, initiator=ME
        ),
        options=source.options,
    )
