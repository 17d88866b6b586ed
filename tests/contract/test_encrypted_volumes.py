"""What is encrypted is looked into by QEMU's own driver, wherever it is."""

from pathlib import Path

import pytest

from tests.fakes.volume_service import FakeConnector
from tests.fakes.world import World
from tests.luks import encrypt
from tests.targets import connection_to, iscsi_target
from worker.errors import ConnectFailed, EncryptionUnsupported, NotLuks
from worker.model.connection import Connection
from worker.model.guest_secret import GuestSecret, SecretUse
from worker.model.ids import VolumeId, new_uuid
from worker.model.secret import Secret
from worker.model.source import DiskOptions, FileSource, HostVolume, Seen
from worker.ports import Connector
from worker.volume.encrypted import EncryptedVolumes
from worker.volume.qemu_initiator import QemuInitiator

MIB = 1 << 20
SIZE = 8 * MIB
ME = "iqn.2026-11.org.example.test:me"
PASSPHRASE = GuestSecret(use=SecretUse.VOLUME, value=Secret("hush"))


class Plain(FakeConnector):
    """The host's side, which sees files and their sizes."""

    def examine(self, volume: HostVolume) -> Seen:
        return Seen(size=Path(volume.source.name).stat().st_size)


def looking() -> Connector:
    return EncryptedVolumes(Plain(World()))


def a_file(path: Path) -> HostVolume:
    source = FileSource(path=str(path))
    return HostVolume(source=source, options=DiskOptions(), secrets=(PASSPHRASE,))


def test_what_a_guest_sees_of_it_is_less_than_there_is(tmp_path: Path) -> None:
    encrypt(tmp_path / "disk", "hush", SIZE)
    whole = (tmp_path / "disk").stat().st_size
    seen = looking().examine(a_file(tmp_path / "disk"))
    assert (seen.size, seen.payload) == (whole, SIZE)
    assert whole > SIZE


def test_what_is_not_encrypted_is_not_looked_into(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(MIB))
    source = FileSource(path=str(tmp_path / "disk"))
    plain = HostVolume(source=source, options=DiskOptions())
    assert looking().examine(plain) == Seen(size=MIB)


def test_what_has_no_header_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"data" + bytes(MIB))
    with pytest.raises(NotLuks, match="cannot be opened as LUKS"):
        looking().examine(a_file(tmp_path / "disk"))
    assert (tmp_path / "disk").read_bytes() == b"data" + bytes(MIB)


def test_a_version_that_qemu_does_not_open_is_named(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"LUKS\xba\xbe\x00\x02" + bytes(MIB))
    with pytest.raises(EncryptionUnsupported, match="LUKS version 2"):
        looking().examine(a_file(tmp_path / "disk"))


def test_what_a_guest_has_written_is_followed_nowhere(tmp_path: Path) -> None:
    """The driver is named: a header of another format, with a backing file, is no LUKS."""
    (tmp_path / "disk").write_bytes(b"QFI\xfb\x00\x00\x00\x03" + bytes(MIB))
    with pytest.raises(NotLuks):
        looking().examine(a_file(tmp_path / "disk"))


def test_what_is_not_there_is_no_question_of_its_format(tmp_path: Path) -> None:
    class Blind(FakeConnector):
        def examine(self, volume: HostVolume) -> Seen:
            return Seen(size=len(volume.source.name))

    with pytest.raises(ConnectFailed, match="No such file"):
        EncryptedVolumes(Blind(World())).examine(a_file(tmp_path / "disk"))


def test_a_lun_is_looked_into_by_who_may_log_in(tmp_path: Path) -> None:
    encrypt(tmp_path / "disk", "hush", SIZE)
    volume = VolumeId(new_uuid())
    with iscsi_target() as target:
        target.add(volume, SIZE + 2 * MIB)
        with (target.folder / volume).open("r+b") as backing:
            backing.write((tmp_path / "disk").read_bytes())
        target.allow(volume, ME)
        target.ask_password(volume, "them", "sesame-7391")
        connection = target.with_password(connection_to(volume, target.port), "them", "sesame-7391")
        assert payload_of(connection) == SIZE + 2 * MIB - header(tmp_path / "disk")


def payload_of(connection: Connection) -> int | None:
    connector = EncryptedVolumes(QemuInitiator(Plain(World()), name=ME))
    found = connector.connect(connection)
    volume = HostVolume(
        source=found.source, options=found.options, secrets=(*found.secrets, PASSPHRASE)
    )
    return connector.examine(volume).payload


def header(path: Path) -> int:
    return path.stat().st_size - SIZE
