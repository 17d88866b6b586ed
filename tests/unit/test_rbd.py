"""Images of Ceph, which are QEMU's to open: where they are, by which key, and how large."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from tests.fakes.volume_service import FakeConnector, connection_of
from tests.unit import scenes
from tests.unit.scenes import VOLUME
from worker import conf as options
from worker.errors import ConnectFailed, DeviceTypeUnsupported, ProtocolUnsupported
from worker.model.block_device import DeviceType
from worker.model.connection import Connection
from worker.model.guest_secret import GuestSecret, SecretUse
from worker.model.places.lun import check_source
from worker.model.secret import Secret
from worker.model.source import BlockSource, DiskOptions, HostVolume, RbdSource
from worker.virt.xml.disk import source_tree
from worker.virt.xml.layout import read_source
from worker.volume.rbd import RbdImages, rbd_images
from worker.volume.rbd_keys import RbdLogins

KEY = "AQOurs+key/AAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="
MONITORS = (("192.0.2.7", 6789), ("2001:db8::1", 3300))
PROPERTIES = {
    "name": "volumes/volume-1",
    "hosts": ["192.0.2.7", "[2001:db8::1]"],
    "ports": ["6789", 3300],
    "cluster_name": "ceph",
    "auth_enabled": True,
    "auth_username": "cinder",
    "secret_type": "ceph",
    "secret_uuid": "5d2cf6ee-0000-4000-8000-00000000000a",
    "keyring": KEY,
    "volume_id": VOLUME,
    "qos_specs": None,
    "encrypted": False,
    "access_mode": "rw",
}
SOURCE = RbdSource(pool="volumes", image="volume-1", hosts=MONITORS, user="cinder")
NOBODY = {"auth_enabled": False, "auth_username": None, "keyring": None}


def rbd(**others: object) -> Connection:
    return Connection(protocol="rbd", properties={**PROPERTIES, **others})


@pytest.fixture
def connector() -> RbdImages:
    return RbdImages(FakeConnector(scenes.world()), RbdLogins())


def test_a_connection_becomes_a_source_of_qemus_and_its_key_goes_beside(
    connector: RbdImages,
) -> None:
    volume = connector.connect(rbd())
    secret = GuestSecret(use=SecretUse.CEPH, value=Secret(KEY))
    assert volume == HostVolume(source=SOURCE, options=DiskOptions(), secrets=(secret,))
    assert KEY not in repr(volume)
    connector.disconnect(rbd())
    connector.disconnect(rbd(), force=True)


def test_where_nobody_logs_in_there_is_no_secret(connector: RbdImages) -> None:
    volume = connector.connect(rbd(**NOBODY))
    assert volume.source == RbdSource(pool="volumes", image="volume-1", hosts=MONITORS)
    assert volume.secrets == ()


def test_a_connection_as_it_is_kept_is_found_without_a_key(connector: RbdImages) -> None:
    found = connector.find(rbd().without_secrets())
    assert found is not None
    assert (found.source.name, found.secrets) == (SOURCE.name, ())


def test_monitors_that_have_moved_are_another_way_to_the_same_image(connector: RbdImages) -> None:
    moved = connector.connect(rbd(hosts=["192.0.2.8"], ports=["6789"]))
    assert moved.source != SOURCE
    assert moved.source.name == SOURCE.name == "rbd:volumes/volume-1"


def test_what_libvirt_is_told_is_read_back_as_the_same() -> None:
    kind, element = source_tree(SOURCE, "blockworker/i/d")
    assert (kind, read_source(element)) == ("network", SOURCE.name)
    assert etree.tostring(element).decode() == (
        '<source protocol="rbd" name="volumes/volume-1">'
        '<host name="192.0.2.7" port="6789"/><host name="2001:db8::1" port="3300"/>'
        '<auth username="cinder"><secret type="ceph" usage="blockworker/i/d"/></auth></source>'
    )


def test_every_other_protocol_is_the_hosts(connector: RbdImages) -> None:
    connection = connection_of(VOLUME)
    assert connector.find(connection) is None
    volume = connector.connect(connection)
    assert volume.source == BlockSource(path=f"/dev/{VOLUME}")
    size = scenes.world().volumes[VOLUME].size
    assert connector.examine(volume).size == connector.extend(connection) == size
    connector.disconnect(connection)
    assert connector.find(connection) is None
    assert connector.properties() == FakeConnector(scenes.world()).properties()


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": None},
        {"name": "volume-1"},
        {"name": "volumes/space/volume-1"},
        {"name": "volumes/volume-1@snapshot"},
        {"name": "volumes/"},
        {"hosts": []},
        {"hosts": None},
        {"ports": "6789"},
        {"ports": ["6789"]},
        {"ports": ["6789", "monitor"]},
        {"hosts": ["192.0.2.7", "a b"]},
        {"hosts": ["192.0.2.7", ""]},
    ],
)
def test_what_is_no_address_is_not_connected(
    wrong: dict[str, object], connector: RbdImages
) -> None:
    with pytest.raises(ConnectFailed) as refused:
        connector.connect(rbd(**wrong))
    assert KEY not in str(refused.value)


def test_what_the_connection_wants_is_how_it_is_treated(connector: RbdImages) -> None:
    wanted = connector.connect(rbd(discard=True, access_mode="ro", multiattach=True)).options
    assert wanted == DiskOptions(discard="unmap", read_only=True, shareable=True)
    with pytest.raises(ProtocolUnsupported, match="access mode 'rx'"):
        connector.connect(rbd(access_mode="rx"))


def test_an_image_takes_no_scsi_commands() -> None:
    with pytest.raises(DeviceTypeUnsupported, match="image of Ceph"):
        check_source(DeviceType.LUN, SOURCE)
    check_source(DeviceType.DISK, SOURCE)


# --- its size, by qemu-img ---

TOOL = """#!/bin/sh
printf '%s\\n' "$@" > {folder}/words
case "$4" in *file=*) cat "$(expr "$4" : '.*file=\\([^,]*\\)')" > {folder}/secret;; esac
echo '{{"virtual-size": 4711}}'
"""


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what a stand-in for qemu-img was told."""
    (tmp_path / "qemu-img").write_text(TOOL.format(folder=tmp_path))
    (tmp_path / "qemu-img").chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path


def options_told(folder: Path) -> Mapping[str, Any]:
    last = (folder / "words").read_text().splitlines()[-1]
    return dict(word.split("=", 1) for word in last.split(","))


def test_the_size_is_asked_for_with_the_key_and_the_key_is_on_no_command_line(
    connector: RbdImages, told: Path
) -> None:
    assert connector.examine(connector.connect(rbd())).size == 4711
    assert (told / "secret").read_text() == KEY
    assert KEY not in (told / "words").read_text()
    assert "format=base64" in (told / "words").read_text()
    assert options_told(told) == {
        "driver": "rbd",
        "pool": "volumes",
        "image": "volume-1",
        "server.0.host": "192.0.2.7",
        "server.0.port": "6789",
        "server.1.host": "2001:db8::1",
        "server.1.port": "3300",
        "user": "cinder",
        "key-secret": "login",
        "auth-client-required.0": "cephx",
    }


def test_where_nobody_logs_in_the_hosts_administrator_does_not_either(
    connector: RbdImages, told: Path
) -> None:
    """Without a word on it librados comes as client.admin, with the key that lies in /etc/ceph."""
    assert connector.extend(rbd(**NOBODY)) == 4711
    assert options_told(told)["auth-client-required.0"] == "none"
    assert {"user", "key-secret"}.isdisjoint(options_told(told))
    assert not (told / "secret").exists()


def test_a_connection_as_it_is_kept_is_opened_with_a_key_of_this_host(told: Path) -> None:
    """A host starts its guests without its volume service."""
    keyring = told / "keyring"
    kept = rbd().without_secrets()
    connector = RbdImages(FakeConnector(scenes.world()), RbdLogins(keyring=keyring))
    with pytest.raises(ConnectFailed, match=r"no key of Ceph's client\.cinder"):
        connector.extend(kept)
    assert not (told / "words").exists()
    keyring.write_text(f"[client.cinder]\nkey = {KEY}\n")
    assert connector.connect(kept) == RbdImages(FakeConnector(scenes.world()), RbdLogins()).connect(
        rbd()
    )
    assert connector.extend(kept) == 4711


def test_a_comma_in_a_name_does_not_end_it(connector: RbdImages, told: Path) -> None:
    connector.examine(connector.connect(rbd(name="vol,user=admin/image")))
    assert "pool=vol,,user=admin,image=image" in (told / "words").read_text()


def test_the_options_say_who_logs_in(tmp_path: Path) -> None:
    keyring = tmp_path / "keyring"
    keyring.write_text(f"[client.us]\nkey = {KEY}\n")
    conf = options.load(volume__rbd_user="us", volume__rbd_keyring=str(keyring))
    made = rbd_images(
        FakeConnector(scenes.world()), user=conf.volume.rbd_user, keyring=conf.volume.rbd_keyring
    )
    volume = made.connect(rbd(**NOBODY))
    assert volume.secrets == (GuestSecret(use=SecretUse.CEPH, value=Secret(KEY)),)
    assert options.load().volume.rbd_user is None
