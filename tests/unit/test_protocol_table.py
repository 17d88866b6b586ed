"""From what a volume service says of each protocol to what libvirt is given: the whole table."""

import stat
from dataclasses import dataclass, field
from typing import Any

import pytest

from worker.errors import ConnectFailed, ProtocolUnsupported
from worker.model.block_device import Bus, DeviceType
from worker.model.connection import Connection
from worker.model.disk import Disk
from worker.model.source import FileSource
from worker.virt.xml.disk import disk_tree
from worker.volume import protocols, treatment
from worker.volume.protocols import SOURCES, check, disk_source

VOLUME_ID = "9ef4e89d-f42b-46fc-817d-e11ab6aa80cc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A protocol with a connection as Cinder's drivers say it, and the disk that comes of it."""

    path: str
    said: dict[str, Any] = field(default_factory=dict)
    kind: str = "block"
    driver: dict[str, str] = field(default_factory=dict)


NATIVE = {"cache": "none", "io": "native"}
PLAIN = {"cache": "none"}
WRITEBACK = {"cache": "writeback"}
ISCSI = {"target_portal": "192.0.2.9:3260", "target_iqn": "iqn.2010-10.org:v", "target_lun": 1}
NVME = {"target_nqn": "nqn.2014-08.org:v", "portals": [["192.0.2.9", 4420, "tcp"]], "ns_id": 1}
SHARE = {"export": "192.0.2.9:/export", "name": "volume-1", "format": "raw"}

ROWS = {
    "iscsi": Row(path="/dev/sdb", said=ISCSI, driver=NATIVE),
    "iser": Row(path="/dev/sdb", said=ISCSI, driver=NATIVE),
    "fibre_channel": Row(
        path="/dev/dm-3", said={"target_wwn": ["50060e801049cfd1"], "target_lun": 1}, driver=NATIVE
    ),
    "nvme": Row(path="/dev/nvme0n1", said=NVME, driver=PLAIN),
    "nvmeof": Row(path="/dev/nvme0n1", said=NVME, driver=PLAIN),
    "lightos": Row(path="/dev/nvme1n2", said={"uuid": VOLUME_ID}, driver=PLAIN),
    "scaleio": Row(
        path="/dev/disk/by-id/emc-vol-1-2", said={"scaleIO_volume_id": "2"}, driver=NATIVE
    ),
    "storpool": Row(path="/dev/storpool/os-1", said={"volume": VOLUME_ID}, driver=NATIVE),
    "local": Row(path="/dev/vg/lv", said={"device_path": "/dev/vg/lv"}, driver=NATIVE),
    "nfs": Row(path="/mnt/a/volume-1", said=SHARE, kind="file", driver=NATIVE),
    "glusterfs": Row(path="/mnt/a/volume-1", said=SHARE, kind="file", driver=PLAIN),
    "smbfs": Row(path="/mnt/a/volume-1", said=SHARE, kind="file", driver=WRITEBACK),
    "vzstorage": Row(path="/mnt/a/volume-1", said=SHARE, kind="file", driver=WRITEBACK),
    "quobyte": Row(path="/mnt/a/volume-1", said=SHARE, kind="file", driver=NATIVE),
    "gpfs": Row(path="/gpfs/v", said={"device_path": "/gpfs/v"}, kind="file", driver=PLAIN),
}


@pytest.fixture(autouse=True)
def there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below /dev are block devices, elsewhere files; all take direct I/O."""

    def mode(path: str) -> int:
        return stat.S_IFBLK if path.startswith("/dev/") else stat.S_IFREG

    monkeypatch.setattr(protocols, "_mode", mode)
    monkeypatch.setattr(treatment, "_takes_direct_io", lambda _: True)


def connection(protocol: str, **more: object) -> Connection:
    return Connection(protocol=protocol, properties={**ROWS[protocol].said, **more})


def disk(protocol: str, device_type: DeviceType = DeviceType.DISK, **more: object) -> Any:  # noqa: ANN401
    given = connection(protocol, **more)
    check(given)
    volume = disk_source(given, ROWS[protocol].path)
    return disk_tree(
        Disk(
            alias=f"ua-{VOLUME_ID}",
            target="sda",
            bus=Bus.SCSI,
            device_type=device_type,
            serial=VOLUME_ID,
            address=None,
            source=volume.source,
            options=volume.options,
        )
    )


def test_each_protocol_of_the_table_is_shown() -> None:
    assert ROWS.keys() == SOURCES.keys()


@pytest.mark.parametrize("protocol", sorted(SOURCES))
def test_a_volume_is_given_as_its_protocol_wants_it(protocol: str) -> None:
    row, made = ROWS[protocol], disk(protocol)
    attribute = {"block": "dev", "file": "file"}[row.kind]
    assert (made.get("type"), dict(made.find("source").attrib)) == (row.kind, {attribute: row.path})
    assert dict(made.find("driver").attrib) == {"name": "qemu", "type": "raw", **row.driver}
    assert made.find("iotune") is made.find("blockio") is made.find("readonly") is None


@pytest.mark.parametrize("protocol", sorted(SOURCES))
def test_what_a_service_says_beside_it_is_kept_over_every_protocol(protocol: str) -> None:
    qos = {"total_bytes_sec": "1000000", "read_iops_sec": 200, "write_iops_sec": "0", "minIOPS": 7}
    sizes = {"logical_block_size": "4096", "physical_block_size": 4096}
    more: dict[str, Any] = {"qos_specs": qos, "discard": True, "access_mode": "ro", **sizes}
    made = disk(protocol, multiattach=True, **more)
    limits = {limit.tag: limit.text for limit in made.find("iotune")}
    assert limits == {"total_bytes_sec": "1000000", "read_iops_sec": "200"}
    assert dict(made.find("blockio").attrib) == dict.fromkeys(sizes, "4096")
    assert made.find("driver").get("discard") == "unmap"
    assert made.find("driver").get("cache") == "none"
    assert made.find("readonly") is not None
    assert made.find("shareable") is not None


@pytest.mark.parametrize("protocol", sorted(SOURCES))
@pytest.mark.parametrize(
    "more",
    [
        {"access_mode": "wo"},
        {"qos_specs": {"total_iops_sec": 1, "read_iops_sec": 1}},
        {"qos_specs": ["total_iops_sec"]},
        {"logical_block_size": 1000},
        {"physical_block_size": "many"},
    ],
    ids=str,
)
def test_what_cannot_be_kept_is_refused_before_anything_is_connected(
    protocol: str, more: dict[str, object]
) -> None:
    with pytest.raises(ProtocolUnsupported):
        check(connection(protocol, **more))


@pytest.mark.parametrize("protocol", sorted(SOURCES.keys() - {"local"}))
def test_what_appears_as_another_kind_of_file_is_not_the_volume(protocol: str) -> None:
    elsewhere = "/gpfs/v" if ROWS[protocol].kind == "block" else "/dev/sdb"
    with pytest.raises(ConnectFailed, match=r"no (block device|regular file)"):
        disk_source(connection(protocol), elsewhere)


def test_a_file_has_the_format_that_its_service_says_and_no_other() -> None:
    made = disk("nfs", format="qcow2")
    assert made.find("driver").get("type") == "qcow2"
    assert disk("quobyte", format="qcow2").find("driver").get("type") == "raw"
    with pytest.raises(ProtocolUnsupported, match="known: raw, qcow2"):
        check(connection("nfs", format="vmdk"))


def test_a_file_without_direct_io_is_cached_whatever_its_protocol_wants(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(treatment, "_takes_direct_io", lambda _: False)
    options = disk_source(connection("nfs"), ROWS["nfs"].path).options
    assert (options.cache, options.io) == ("writeback", None)


def test_a_lun_keeps_the_block_sizes_of_the_storage() -> None:
    made = disk("iscsi", DeviceType.LUN, logical_block_size=4096)
    assert made.find("blockio") is None
    assert disk("iscsi", logical_block_size=4096).find("blockio").items() == [
        ("logical_block_size", "4096")
    ]


def test_a_local_file_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(treatment, "_is_allocated", lambda _: False)
    volume = disk_source(connection("local", format="qcow2"), "/srv/v")
    assert volume.source == FileSource(path="/srv/v")
    assert (volume.options.cache, volume.options.io) == ("none", None)
