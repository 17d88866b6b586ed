"""What a connector promises, on the real os-brick and its ``local`` protocol."""

import logging
import os
import platform
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from os_brick import privileged
from os_brick.initiator.connectors.iscsi import ISCSIConnector
from os_brick.initiator.connectors.local import LocalConnector
from oslo_config import cfg
from oslo_privsep import priv_context

from tests.rings import require
from worker.errors import ConnectFailed, ProtocolUnsupported
from worker.model.connection import SECRET_KEYS, Connection
from worker.model.source import BlockSource, FileSource
from worker.volume import brick_setup
from worker.volume.brick import BrickConnector
from worker.volume.brick_setup import BrickOptions
from worker.volume.protocols import SOURCES

SIZE = 1 << 20
PASSWORD = "sesame-open-7391"


@pytest.fixture
def connector(tmp_path: Path) -> BrickConnector:
    options = BrickOptions(lock_path=str(tmp_path / "locks"))
    return BrickConnector(host="host-1", my_ip="192.0.2.1", options=options)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.raw"
    with path.open("wb") as file:
        file.truncate(SIZE)
    return path


@pytest.fixture
def loop_device(image: Path) -> Iterator[str]:
    made = subprocess.run(
        ["losetup", "--find", "--show", image], capture_output=True, text=True, check=False
    )
    require(made.returncode == 0, "loop devices, as root")
    device = made.stdout.strip()
    yield device
    subprocess.run(["losetup", "--detach", device], check=True)


def local(path: Path | str, **properties: object) -> Connection:
    return Connection(protocol="local", properties={"device_path": str(path), **properties})


def with_secrets(path: Path | str) -> Connection:
    secrets = dict.fromkeys(SECRET_KEYS, PASSWORD)
    return local(path, **secrets, deep={"paths": [secrets, {"x_password": PASSWORD}]})


def test_a_file_is_connected_in_its_size(connector: BrickConnector, image: Path) -> None:
    volume = connector.connect(local(image))

    assert volume.source == FileSource(path=str(image))
    assert connector.examine(volume).size == SIZE


def test_connecting_again_answers_the_same(connector: BrickConnector, image: Path) -> None:
    assert connector.connect(local(image)) == connector.connect(local(image))


def test_a_block_device_is_connected_in_its_size(
    connector: BrickConnector, loop_device: str
) -> None:
    volume = connector.connect(local(loop_device))

    assert volume.source == BlockSource(path=loop_device)
    assert (volume.options.cache, volume.options.io) == ("none", "native")
    assert connector.examine(volume).size == SIZE


def test_the_size_is_read_anew(connector: BrickConnector, image: Path) -> None:
    volume = connector.connect(local(image))
    os.truncate(image, 2 * SIZE)

    assert connector.examine(volume).size == 2 * SIZE


def test_the_size_of_what_is_gone_is_an_error(connector: BrickConnector, image: Path) -> None:
    volume = connector.connect(local(image))
    image.unlink()

    with pytest.raises(ConnectFailed, match="size"):
        connector.examine(volume)


def test_a_missing_file_is_not_connected(connector: BrickConnector, tmp_path: Path) -> None:
    with pytest.raises(ConnectFailed, match=r"gone\.raw"):
        connector.connect(local(tmp_path / "gone.raw"))


def test_a_connection_without_a_path_is_not_connected(connector: BrickConnector) -> None:
    with pytest.raises(ConnectFailed, match="device_path"):
        connector.connect(Connection(protocol="local", properties={}))


@pytest.mark.parametrize("force", [{}, {"force": True}])
def test_disconnecting_leaves_the_file_and_may_be_repeated(
    connector: BrickConnector, image: Path, force: dict[str, bool]
) -> None:
    connection = with_secrets(image).without_secrets()
    connector.connect(with_secrets(image))

    for _ in range(2):
        connector.disconnect(connection, **force)

    assert image.exists()


def test_disconnecting_what_is_not_there_is_fine(connector: BrickConnector, tmp_path: Path) -> None:
    connector.disconnect(local(tmp_path / "never.raw"))


@pytest.mark.parametrize("protocol", ["carrier-pigeon", "", "LOCAL", "huaweisdshypervisor"])
def test_an_unknown_protocol_is_refused(connector: BrickConnector, protocol: str) -> None:
    connection = Connection(protocol=protocol, properties={"device_path": "/dev/null"})

    with pytest.raises(ProtocolUnsupported, match=r"known: .*local"):
        connector.connect(connection)
    with pytest.raises(ProtocolUnsupported, match=r"known: .*local"):
        connector.disconnect(connection)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No daemon of any storage network is set up on this host."""
    signs = {name: (str(tmp_path / "nothing"),) for name in brick_setup.SIGNS}
    monkeypatch.setattr(brick_setup, "SIGNS", signs)


@pytest.mark.usefixtures("bare")
def test_the_host_describes_itself(connector: BrickConnector) -> None:
    assert connector.properties() == {
        "platform": platform.machine(),
        "os_type": "linux",
        "ip": "192.0.2.1",
        "host": "host-1",
        "multipath": False,
        "enforce_multipath": False,
    }


def test_the_host_names_itself_as_what_it_has_is_called(
    connector: BrickConnector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """open-iscsi is there, by the file that it is known by; the other networks are not."""
    signs = {name: (str(tmp_path / "nothing"),) for name in brick_setup.SIGNS}
    monkeypatch.setattr(brick_setup, "SIGNS", signs | {"ISCSIConnector": (str(tmp_path),)})
    monkeypatch.setattr(ISCSIConnector, "get_initiator", lambda _: "iqn.2026-11.org.example:me")

    found = connector.properties()

    assert found["initiator"] == "iqn.2026-11.org.example:me"
    assert found.keys().isdisjoint({"nqn", "wwpns", "uuid", "found_dsc"})


@pytest.mark.usefixtures("bare")
def test_describing_the_host_asks_no_tool_that_the_known_protocols_do_not_need(
    connector: BrickConnector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    connector.properties()

    assert caplog.text == ""


def test_the_host_is_read_once_until_it_is_refreshed(
    connector: BrickConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = connector.properties()
    monkeypatch.setattr(
        LocalConnector, "get_connector_properties", staticmethod(lambda *_, **__: {"new": 1})
    )

    assert connector.properties() == first
    connector.refresh()
    assert connector.properties() == {**first, "new": 1}


def test_a_host_that_cannot_be_read_is_read_again(
    connector: BrickConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> dict[str, Any]:
        raise RuntimeError("no multipathd")

    with monkeypatch.context() as broken:
        broken.setattr(LocalConnector, "get_connector_properties", staticmethod(fail))
        with pytest.raises(ConnectFailed, match="no multipathd"):
            connector.properties()

    assert connector.properties()["host"] == "host-1"


def test_locks_are_kept_where_the_constructor_says(
    connector: BrickConnector, tmp_path: Path
) -> None:
    assert cfg.CONF.os_brick.lock_path == str(tmp_path / "locks")


def test_a_protocol_that_brick_does_not_have_is_refused(
    connector: BrickConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = {"local": SOURCES["local"], "carrier-pigeon": SOURCES["local"]}
    for room in ("protocols", "brick", "brick_setup"):
        monkeypatch.setattr(f"worker.volume.{room}.SOURCES", table)

    with pytest.raises(ProtocolUnsupported, match="CARRIER-PIGEON"):
        connector.connect(Connection(protocol="carrier-pigeon", properties={}))


def test_a_root_helper_starts_the_privileged_helper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privileged.default, "client_mode", False)
    monkeypatch.setattr(privileged.brick_privsep_hide_output, "client_mode", False)
    monkeypatch.setattr(priv_context, "_HELPER_COMMAND_PREFIX", ["sudo"])

    options = BrickOptions(lock_path=str(tmp_path), root_helper="sudo -n")
    BrickConnector(host="host-1", my_ip="192.0.2.1", options=options)

    assert privileged.default.client_mode is True
    assert privileged.default.helper_command("socket")[:3] == ["sudo", "-n", "privsep-helper"]


def test_no_secret_is_logged_or_shown(
    connector: BrickConnector, image: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    connection = with_secrets(image)

    volume = connector.connect(connection)
    connector.disconnect(connection)

    assert "connect_volume" in caplog.text, "os-brick traces its calls at DEBUG"
    assert PASSWORD not in caplog.text + repr(connection) + repr(volume)


@pytest.mark.parametrize("call", ["connect", "disconnect"])
def test_no_secret_is_in_an_error_or_behind_it(
    connector: BrickConnector,
    image: Path,
    call: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: LocalConnector, properties: dict[str, Any], *__: object, **___: object) -> None:
        raise RuntimeError(f"iscsiadm -v {properties['auth_password']}")

    monkeypatch.setattr(LocalConnector, f"{call}_volume", fail)
    caplog.set_level(logging.DEBUG)

    with pytest.raises(ConnectFailed, match=r"iscsiadm -v \*\*\*") as caught:
        getattr(connector, call)(with_secrets(image))

    shown = "".join(traceback.format_exception(caught.value))
    assert PASSWORD not in shown + caplog.text


def test_an_error_without_a_secret_keeps_its_cause(
    connector: BrickConnector, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such portal")

    monkeypatch.setattr(LocalConnector, "connect_volume", fail)

    with pytest.raises(ConnectFailed) as caught:
        connector.connect(with_secrets(image))

    assert isinstance(caught.value.__cause__, RuntimeError)


def test_an_ordinary_user_needs_no_sudo(tmp_path: Path) -> None:
    """Neither a password prompt nor a privileged helper stands in the way of ``local``."""
    called = tmp_path / "called"
    sudo = tmp_path / "bin" / "sudo"
    sudo.parent.mkdir()
    sudo.write_text(f"#!/bin/sh\necho asked >> {called}\nexit 1\n")
    sudo.chmod(0o755)

    done = subprocess.run(
        [sys.executable, "-m", "tests.contract.ordinary_user"],
        env={**os.environ, "PATH": f"{sudo.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )

    assert done.returncode == 0, done.stderr
    assert f"host-1 {SIZE}" in done.stdout
    assert not called.exists()


def test_nothing_is_monkey_patched() -> None:
    code = (
        "import worker.volume.brick, threading, _thread, sys;"
        "assert threading.get_ident is _thread.get_ident;"
        "patcher = sys.modules.get('eventlet.patcher');"
        "assert patcher is None or not patcher.already_patched"
    )

    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_connected_volume_is_found_as_connect_answered_it(
    connector: BrickConnector, image: Path
) -> None:
    assert connector.find(with_secrets(image)) == connector.connect(with_secrets(image))


def test_a_volume_that_is_not_there_is_not_found(connector: BrickConnector, image: Path) -> None:
    image.unlink()
    assert connector.find(local(image)) is None


def test_what_cannot_be_connected_cannot_be_looked_for(connector: BrickConnector) -> None:
    with pytest.raises(ProtocolUnsupported):
        connector.find(Connection(protocol="carrier-pigeon", properties={}))
    with pytest.raises(ConnectFailed):
        connector.find(Connection(protocol="local", properties={}))
