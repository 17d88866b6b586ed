"""What is made of os-brick's connectors: what they are told, when again, and whether it is gone."""

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from os_brick.exception import VolumeDeviceNotFound
from os_brick.initiator.connectors.remotefs import RemoteFsConnector
from os_brick.remotefs.remotefs import RemoteFsClient
from oslo_concurrency.processutils import ProcessExecutionError

from tests.rings import require
from worker.errors import ConnectFailed
from worker.model.connection import Connection
from worker.model.source import DiskFormat, FileSource, HostVolume, Seen
from worker.volume import brick, presence, protocols
from worker.volume.brick import BrickConnector
from worker.volume.brick_setup import BrickOptions, make_connector
from worker.volume.protocols import SOURCES, disk_source

MIB = 1 << 20
SHARE = "192.0.2.1:/export"


@dataclass
class Told:
    """Stands where os-brick's connector does; ``ends`` are what its calls come to, in order."""

    device: str
    ends: list[Exception] = field(default_factory=list)
    size: int | None = MIB
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    used: list[Any] = field(default_factory=list)
    stays: bool = False
    take: Callable[[], None] = lambda: None
    others: tuple[str, ...] = ()

    def connect_volume(self, properties: dict[str, Any]) -> dict[str, Any]:
        self.calls.append(("connect", properties))
        if self.ends:
            raise self.ends.pop(0)
        return {"path": self.device.encode()}

    def disconnect_volume(self, properties: dict[str, Any], device: Any, *, force: bool) -> None:  # noqa: ANN401
        self.calls.append(("disconnect", properties))
        self.used.append((device, force))
        self.take()

    def extend_volume(self, properties: dict[str, Any]) -> int | None:
        self.calls.append(("extend", properties))
        return self.size

    def get_volume_paths(self, _: dict[str, Any]) -> list[str]:
        return [self.device, *self.others]


@dataclass
class Kernel:
    """A folder like /sys/class/block, and one like /dev."""

    block: Path
    dev: Path

    def add(self, name: str, *, map_of: tuple[str, ...] = ()) -> str:
        for folder in ("holders", "slaves"):
            (self.block / name / folder).mkdir(parents=True)
        if map_of:
            (self.block / name / "dm").mkdir()
            (self.block / name / "dm" / "uuid").write_text("mpath-3600")
        for path in map_of:
            (self.block / name / "slaves" / path).mkdir()
            (self.block / path / "holders" / name).mkdir()
        (self.dev / name).touch()
        return str(self.dev / name)

    def remove(self, name: str) -> None:
        (self.block / name).rename(self.block.parent / f"gone-{name}")
        (self.dev / name).unlink()


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """Whatever is below its /dev is a block device."""
    found = Kernel(block=tmp_path / "block", dev=tmp_path / "dev")
    found.dev.mkdir()
    monkeypatch.setattr(presence, "_BLOCK", found.block)
    monkeypatch.setattr(presence, "_DEV", found.dev)
    monkeypatch.setattr(presence, "GONE_WITHIN", 0.2)
    monkeypatch.setattr(protocols, "_mode", lambda _: 0o060000)
    return found


@pytest.fixture
def told(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> Told:
    stands = Told(device=kernel.add("sdb"))
    monkeypatch.setattr(brick, "make_connector", lambda *_: stands)
    monkeypatch.setattr(brick, "_FIRST_PAUSE", 0.001)
    return stands


@pytest.fixture
def connector(tmp_path: Path) -> BrickConnector:
    options = BrickOptions(
        lock_path=str(tmp_path / "locks"),
        enforce_multipath=True,
        connect_attempts=3,
        mount_path=str(tmp_path / "mnt"),
    )
    return BrickConnector(host="host-1", my_ip="192.0.2.1", options=options)


def iscsi(**said: object) -> Connection:
    return Connection(protocol="iscsi", properties={"target_lun": 1, **said})


def nfs(name: str = "volume-1", **said: object) -> Connection:
    return Connection(protocol="nfs", properties={"export": SHARE, "name": name, **said})


def block(path: str) -> HostVolume:
    return disk_source(iscsi(), path)


def test_a_tool_that_failed_is_run_again_so_many_times(
    connector: BrickConnector, told: Told
) -> None:
    told.ends = [ProcessExecutionError(), ProcessExecutionError()]
    assert connector.connect(iscsi()) == block(told.device)
    assert len(told.calls) == 3
    told.ends = [ProcessExecutionError()] * 3
    with pytest.raises(ConnectFailed):
        connector.connect(iscsi())
    assert len(told.calls) == 6


def test_a_device_that_os_brick_has_looked_for_again_is_not(
    connector: BrickConnector, told: Told
) -> None:
    told.ends = [VolumeDeviceNotFound(device="sdb")]
    with pytest.raises(ConnectFailed):
        connector.connect(iscsi())
    assert len(told.calls) == 1


def test_os_brick_makes_no_link_for_what_qemu_opens_and_hears_that_paths_are_enforced(
    connector: BrickConnector, kernel: Kernel, told: Told
) -> None:
    told.take = lambda: kernel.remove("sdb")
    connector.connect(iscsi(encrypted=True))
    connector.disconnect(iscsi(encrypted=True))
    for _, properties in told.calls:
        assert "encrypted" not in properties
        assert properties["enforce_multipath"] is True


def test_what_is_there_needs_no_password_while_nobody_can_tell_it(
    connector: BrickConnector, kernel: Kernel, told: Told
) -> None:
    kept = iscsi(auth_method="CHAP", auth_username="me", auth_password="s")
    assert connector.connect(kept.without_secrets()) == block(told.device)
    assert told.calls == []
    assert connector.connect(kept) == block(told.device)
    assert len(told.calls) == 1
    kernel.remove("sdb")
    with pytest.raises(ConnectFailed, match="asks for a password"):
        connector.connect(kept.without_secrets())


def test_a_volume_is_its_map_and_not_one_of_its_paths(
    connector: BrickConnector, kernel: Kernel, told: Told
) -> None:
    kernel.add("sdc")
    above = kernel.add("dm-0", map_of=("sdb", "sdc"))
    assert connector.find(iscsi()) == connector.connect(iscsi()) == block(above)


def test_a_path_that_is_not_in_the_map_yet_is_none_of_its_own(
    connector: BrickConnector, kernel: Kernel, told: Told
) -> None:
    above = kernel.add("dm-0", map_of=("sdb",))
    told.others = (kernel.add("sda"),)
    assert connector.find(iscsi()) == block(above)


def test_what_is_not_there_is_not_found(
    connector: BrickConnector, kernel: Kernel, told: Told
) -> None:
    kernel.remove("sdb")
    assert connector.find(iscsi()) is None
    connector.disconnect(iscsi())
    assert told.used == [(None, False)]
    with pytest.raises(ConnectFailed, match="not on this host"):
        connector.extend(iscsi())


def test_os_brick_is_told_which_device_was_used_and_it_is_gone_then(
    connector: BrickConnector, kernel: Kernel, told: Told
) -> None:
    told.take = lambda: kernel.remove("sdb")
    connector.disconnect(iscsi(), force=True)
    assert told.used == [({"type": "block", "path": told.device}, True)]


def test_a_device_that_stays_is_named(connector: BrickConnector, told: Told) -> None:
    with pytest.raises(ConnectFailed, match="sdb is still on this host"):
        connector.disconnect(iscsi())


def test_a_map_that_stays_without_its_paths_is_named(
    connector: BrickConnector, kernel: Kernel, told: Told
) -> None:
    kernel.add("dm-0", map_of=("sdb",))
    told.take = lambda: kernel.remove("sdb")
    with pytest.raises(ConnectFailed, match="dm-0 is still"):
        connector.disconnect(iscsi())


def test_another_device_of_the_same_name_is_not_it(
    connector: BrickConnector, kernel: Kernel, told: Told
) -> None:
    def take() -> None:
        kernel.remove("sdb")
        kernel.add("sdb")

    told.take = take
    connector.disconnect(iscsi())


def test_a_namespace_of_several_stays_until_the_storage_takes_it(
    connector: BrickConnector, kernel: Kernel, told: Told
) -> None:
    told.device = kernel.add("nvme0n1")
    subsystem = kernel.block.parent / "subsystem"
    for name in ("nvme0n1", "nvme0n2"):
        (subsystem / name).mkdir(parents=True)
        (subsystem / name / "nsid").touch()
    (kernel.block / "nvme0n1" / "device").symlink_to(subsystem)
    connection = Connection(protocol="nvmeof", properties={})
    connector.disconnect(connection)
    (subsystem / "nvme0n2" / "nsid").unlink()
    with pytest.raises(ConnectFailed, match="nvme0n1 is still"):
        connector.disconnect(connection)


def test_an_extend_that_says_no_size_has_failed(connector: BrickConnector, told: Told) -> None:
    assert connector.extend(iscsi()) == MIB
    told.size = None
    with pytest.raises(ConnectFailed, match="how large"):
        connector.extend(iscsi())


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A file system that mounts without a server."""
    found: list[str] = []

    def mount(client: RemoteFsClient, share: str, _flags: object = None) -> None:
        Path(client.get_mount_point(share)).mkdir(parents=True, exist_ok=True)
        found.append(share)

    monkeypatch.setattr(RemoteFsClient, "mount", mount)
    return found


def share(tmp_path: Path) -> Path:
    folder = hashlib.md5(SHARE.encode(), usedforsecurity=False).hexdigest()
    return tmp_path / "mnt" / folder


def test_a_file_of_a_share_is_found_without_mounting_it(
    connector: BrickConnector, tmp_path: Path, mounted: list[str]
) -> None:
    assert connector.find(nfs()) is None
    share(tmp_path).mkdir(parents=True)
    path = share(tmp_path) / "volume-1"
    path.write_bytes(b"x" * MIB)
    found = connector.find(nfs())
    assert found is not None
    assert (found.source, mounted) == (FileSource(path=str(path)), [])
    assert connector.connect(nfs()) == found
    assert mounted == [SHARE]
    assert connector.examine(found) == Seen(size=MIB)
    assert connector.extend(nfs()) == MIB
    connector.disconnect(nfs())
    assert path.exists()


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "..", "/etc/passwd", ""])
def test_a_file_is_in_its_share_and_nothing_is_mounted_for_another(
    connector: BrickConnector, mounted: list[str], name: str
) -> None:
    with pytest.raises(ConnectFailed, match="without a folder"):
        connector.connect(nfs(name))
    assert mounted == []


def test_the_size_of_an_image_is_the_disks_and_not_the_files(
    connector: BrickConnector, tmp_path: Path
) -> None:
    require(shutil.which("qemu-img") is not None, "qemu-img (package qemu-utils)")
    path = tmp_path / "image"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "8M"], check=True)
    volume = disk_source(nfs(format="qcow2"), str(path))
    assert volume.source == FileSource(path=str(path), format=DiskFormat.QCOW2)
    assert connector.examine(volume) == Seen(size=8 * MIB)


@pytest.mark.parametrize("protocol", sorted(SOURCES.keys() - {"storpool"}))
def test_os_brick_has_a_connector_for_every_protocol_of_the_table(
    protocol: str, tmp_path: Path
) -> None:
    """That of StorPool is not made without its client."""
    options = BrickOptions(
        lock_path=str(tmp_path), mount_path=str(tmp_path), mount_options={"cifs": "vers=3"}
    )
    made = make_connector(protocol, options)
    assert isinstance(made, RemoteFsConnector) is (SOURCES[protocol].mount is not None)
    if SOURCES[protocol].mount is not None:
        assert made.get_search_path() == str(tmp_path)
