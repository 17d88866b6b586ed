"""What is left to QEMU's own initiator, and what is not."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.fakes.volume_service import FakeConnector, connection_of
from tests.unit import scenes
from tests.unit.scenes import VOLUME
from worker import conf as options
from worker.errors import ConnectFailed, ProtocolUnsupported
from worker.model.connection import Connection
from worker.model.guest_secret import GuestSecret, SecretUse
from worker.model.secret import Secret
from worker.model.source import BlockSource, DiskOptions, FileSource, HostVolume, IscsiSource
from worker.virt.xml.layout import read_layout
from worker.virt.xml.marks import sourced
from worker.volume.brick import BrickConnector
from worker.volume.brick_setup import BrickOptions
from worker.volume.protocols import ISCSI_NAME, qemu_source
from worker.volume.qemu_initiator import QemuInitiator, initiator_name

ME = "iqn.2008-11.org.linux-kvm:host-1"
PROPERTIES: Mapping[str, Any] = {
    "target_portal": "192.0.2.7:3261",
    "target_iqn": "iqn.2026-11.org.example:a",
    "target_lun": 4,
    "volume_id": VOLUME,
}
SOURCE = IscsiSource(
    host="192.0.2.7", port=3261, iqn="iqn.2026-11.org.example:a", lun=4, initiator=ME
)
ALIAS = "ua-2b1c8a52-0a52-4c8c-8f5b-3d3e6d9e0001"


def iscsi(**others: object) -> Connection:
    return Connection(protocol="iscsi", properties={**PROPERTIES, **others})


@pytest.fixture
def connector() -> QemuInitiator:
    return QemuInitiator(FakeConnector(scenes.world()), name=ME)


def test_a_connection_over_iscsi_becomes_a_source_of_qemus(connector: QemuInitiator) -> None:
    volume = connector.connect(iscsi())
    assert volume == HostVolume(source=SOURCE, options=DiskOptions())
    assert connector.find(iscsi()) == volume
    connector.disconnect(iscsi())
    connector.disconnect(iscsi(), force=True)


def test_every_other_protocol_is_the_hosts(connector: QemuInitiator) -> None:
    connection = connection_of(VOLUME)
    assert connector.find(connection) is None
    volume = connector.connect(connection)
    assert volume.source == BlockSource(path=f"/dev/{VOLUME}")
    assert connector.examine(volume).size == scenes.world().volumes[VOLUME].size
    connector.disconnect(connection)
    assert connector.find(connection) is None


def test_a_target_knows_the_host_by_the_name_of_qemus_initiator(connector: QemuInitiator) -> None:
    told = connector.properties()
    assert (told["host"], told["initiator"], told["multipath"]) == ("host-1", ME, False)


@pytest.mark.parametrize(
    ("portal", "host", "port", "written"),
    [
        ("192.0.2.7:3261", "192.0.2.7", 3261, "192.0.2.7:3261"),
        ("storage.example", "storage.example", 3260, "storage.example:3260"),
        ("[2001:db8::7]:3261", "2001:db8::7", 3261, "[2001:db8::7]:3261"),
    ],
)
def test_a_portal_is_read_and_written(portal: str, host: str, port: int, written: str) -> None:
    source = qemu_source(iscsi(target_portal=portal), ME).source
    assert isinstance(source, IscsiSource)
    assert (source.host, source.port, source.portal) == (host, port, written)
    assert source.name == f"iscsi://{written}/iqn.2026-11.org.example:a/4"


@pytest.mark.parametrize(
    "wrong",
    [
        {"target_portal": "192.0.2.7:3261,lun=7"},
        {"target_portal": ""},
        {"target_portal": "2001:db8::7"},
        {"target_iqn": "iqn.2026-11.org.example:a,lun=7"},
        {"target_iqn": "a"},
        {"target_lun": "4,portal=192.0.2.8"},
        {"target_lun": None},
        {"target_lun": -1},
    ],
)
def test_what_is_no_address_is_not_connected(wrong: dict[str, object]) -> None:
    """What stands in a word of QEMU's would else be taken for another option."""
    with pytest.raises(ConnectFailed, match="names a portal, a target and the number"):
        qemu_source(iscsi(**wrong), ME)


CHAP = {"auth_method": "CHAP", "auth_username": "them", "auth_password": "sesame-7391"}


def test_who_logs_in_is_named_and_the_password_goes_beside() -> None:
    volume = qemu_source(iscsi(**CHAP), ME)
    assert volume.source == replace(SOURCE, user="them")
    assert volume.secrets == (GuestSecret(use=SecretUse.ISCSI, value=Secret("sesame-7391")),)
    assert "sesame" not in repr(volume)


def test_a_connection_as_it_is_kept_leads_to_the_same_place() -> None:
    """It is looked up by that, and disconnected; only an open needs who logs in."""
    kept = qemu_source(iscsi(**CHAP).without_secrets(), ME)
    assert (kept.source.name, kept.secrets) == (SOURCE.name, ())


def test_another_way_to_log_in_is_refused() -> None:
    with pytest.raises(ProtocolUnsupported, match="wants 'SRP'"):
        qemu_source(iscsi(auth_method="SRP"), ME)


def test_what_the_connection_wants_is_how_it_is_treated() -> None:
    wanted = iscsi(access_mode="ro", discard=True, multiattach=True)
    expected = DiskOptions(discard="unmap", read_only=True, shareable=True)
    assert qemu_source(wanted, ME).options == expected
    with pytest.raises(ProtocolUnsupported, match="access mode"):
        qemu_source(iscsi(access_mode="sideways"), ME)


def test_the_host_has_no_device_to_read_the_size_of(tmp_path: object) -> None:
    host = BrickConnector(
        host="host-1", my_ip="192.0.2.1", options=BrickOptions(lock_path=str(tmp_path))
    )
    with pytest.raises(ConnectFailed, match="is no device of this host"):
        host.examine(HostVolume(source=SOURCE, options=DiskOptions()))


def test_a_host_has_a_name_as_an_initiator_whatever_it_is_called() -> None:
    assert initiator_name("host-1") == ME
    name = initiator_name("Host_2, Nord")
    assert name == "iqn.2008-11.org.linux-kvm:host-2--nord"
    assert ISCSI_NAME.fullmatch(name)


def test_a_name_that_is_none_is_no_setting() -> None:
    conf = options.load(volume__iscsi_initiator="qemu", volume__iscsi_initiator_name=ME)
    assert conf.volume.iscsi_initiator_name == ME
    with pytest.raises(ValueError, match="doesn't match regex"):
        options.load(volume__iscsi_initiator_name="iqn.x,lun=7")


BESIDE = f"""<domain><devices><disk type="network" device="disk">
  <source protocol="iscsi" name="iqn.2026-11.org.example:a/4"><host name="192.0.2.7" port="3261"/>
  <auth username="x"/></source><target dev="sda" bus="scsi"/><alias name="{ALIAS}"/>
</disk></devices></domain>"""


@pytest.mark.parametrize("new", [BlockSource(path="/dev/sdb"), FileSource(path="/images/x")])
def test_a_source_takes_the_place_of_another_with_all_that_is_in_it(
    new: BlockSource | FileSource,
) -> None:
    there = sourced(BESIDE, {ALIAS: new})
    assert (read_layout(there).disks[0].source, "192.0.2.7" in there) == (new.path, False)
    back = sourced(there, {ALIAS: SOURCE})
    assert read_layout(back).disks[0].source == SOURCE.name
    assert (new.path in back, 'type="network"' in back) == (False, True)
    assert sourced(back, {ALIAS: SOURCE}) == back


def test_what_names_neither_port_nor_lun_means_the_usual() -> None:
    text = BESIDE.replace(':a/4"', ':a"').replace(' port="3261"', "")
    (disk,) = read_layout(text).disks
    assert disk.source == "iscsi://192.0.2.7:3260/iqn.2026-11.org.example:a/0"
    (lost,) = read_layout(text.replace('<host name="192.0.2.7"/>', "")).disks
    assert lost.source == "iscsi://:3260/iqn.2026-11.org.example:a/0"
