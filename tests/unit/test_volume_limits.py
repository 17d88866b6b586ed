"""How fast a volume may be, and how an operator has it cached."""

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker import conf as options
from worker.errors import Invalid, ProtocolUnsupported
from worker.model.connection import Connection
from worker.model.source import BlockSource, DiskOptions, FileSource, HostVolume, IscsiSource, Seen
from worker.ports import Connector
from worker.volume.brick_setup import BrickOptions
from worker.volume.cache_modes import CacheModes
from worker.volume.limits import LIMITS, limits_in
from worker.wiring.brick import brick_options, cached

CONNECTION = Connection(protocol="local", properties={})


def limits(**specs: object) -> dict[str, int]:
    return dict(limits_in({"qos_specs": specs}))


def test_there_are_thirteen_limits() -> None:
    assert len(set(LIMITS)) == 13


@pytest.mark.parametrize("properties", [{}, {"qos_specs": None}, {"qos_specs": {"minIOPS": 5}}])
def test_without_limits_there_are_none(properties: dict[str, Any]) -> None:
    assert limits_in(properties) == ()


@pytest.mark.parametrize("value", [-1, 1.5, "fast", "", None, True, "0x10", "\uff11"])
def test_a_limit_is_a_whole_number(value: object) -> None:
    with pytest.raises(ProtocolUnsupported, match="read_bytes_sec"):
        limits(read_bytes_sec=value)


@pytest.mark.parametrize(
    ("specs", "said"),
    [
        ({"total_bytes_sec": 1, "read_bytes_sec": 1}, "exclude each other"),
        ({"total_iops_sec": 1, "write_iops_sec": 1}, "exclude each other"),
        ({"read_iops_sec_max": 9}, "without read_iops_sec"),
        ({"total_bytes_sec": 9, "total_bytes_sec_max": 8}, "less than total_bytes_sec"),
        ({"size_iops_sec": 4096, "total_bytes_sec": 9}, "without a limit of operations"),
    ],
)
def test_what_qemu_would_refuse_is_refused(specs: dict[str, int], said: str) -> None:
    with pytest.raises(ProtocolUnsupported, match=said):
        limits(**specs)


def test_those_of_another_unit_do_not_exclude_each_other() -> None:
    given_ = {"total_bytes_sec": 1, "read_iops_sec": 2, "write_iops_sec": 3, "size_iops_sec": 512}
    assert limits(**given_) == given_
    burst = {"total_bytes_sec": 5, "total_bytes_sec_max": 5}
    assert limits(**burst) == burst


@given(st.dictionaries(st.sampled_from(LIMITS), st.integers(0, 5)))
def test_what_is_taken_keeps_the_rules_of_qemu(specs: dict[str, int]) -> None:
    try:
        taken = limits(**specs)
    except ProtocolUnsupported:
        return
    assert taken == {name: specs[name] for name in LIMITS if specs.get(name)}
    for unit, burst in product(("bytes", "iops"), ("", "_max")):
        parts = {f"{way}_{unit}_sec{burst}" for way in ("read", "write")}
        assert f"total_{unit}_sec{burst}" not in taken or parts.isdisjoint(taken)


class Told(Connector):
    """Answers with the source that it was made with."""

    def __init__(self, volume: HostVolume) -> None:
        self.volume: HostVolume | None = volume
        self.gone: list[bool] = []

    def properties(self) -> Mapping[str, Any]:
        return {"host": "host-1"}

    def connect(self, connection: Connection) -> HostVolume:
        assert self.volume is not None
        return self.volume

    def find(self, connection: Connection) -> HostVolume | None:
        return self.volume

    def examine(self, volume: HostVolume) -> Seen:
        return Seen(size=7)

    def extend(self, connection: Connection) -> int:
        return 8

    def disconnect(self, connection: Connection, *, force: bool = False) -> None:
        self.gone.append(force)


FILE, BLOCK = FileSource(path="/a"), BlockSource(path="/dev/a")
LUN = IscsiSource(host="a", port=1, iqn="iqn.a:b", lun=1, initiator="iqn.a:c")


@pytest.mark.parametrize(
    ("source", "mode"), [(FILE, "directsync"), (BLOCK, "none"), (LUN, "writethrough")]
)
def test_a_cache_mode_goes_by_the_shape_of_the_source(
    source: FileSource | BlockSource | IscsiSource, mode: str
) -> None:
    behind = Told(HostVolume(source=source, options=DiskOptions(io="native")))
    connector = CacheModes(behind, {"file": "directsync", "network": "writethrough"})
    wanted = DiskOptions(io="native", cache=mode)
    assert connector.connect(CONNECTION).options == wanted
    found = connector.find(CONNECTION)
    assert found is not None
    assert (found.options, found.source) == (wanted, source)


def test_all_else_is_the_other_connectors() -> None:
    behind = Told(HostVolume(source=FILE, options=DiskOptions()))
    connector = CacheModes(behind, {"file": "none"})
    assert connector.properties() == {"host": "host-1"}
    assert connector.examine(connector.connect(CONNECTION)) == Seen(size=7)
    assert connector.extend(CONNECTION) == 8
    connector.disconnect(CONNECTION, force=True)
    assert behind.gone == [True]
    behind.volume = None
    assert connector.find(CONNECTION) is None


def test_unless_it_is_said_otherwise_the_kernel_logs_in_and_nothing_is_cached_anew(
    tmp_path: Path,
) -> None:
    conf = options.load(volume__iscsi_initiator="host")
    assert conf.volume.iscsi_initiator == "host", "the older word"
    conf = options.load(volume__root_helper="sudo -n", volume__smbfs_mount_options="vers=3")
    assert conf.volume.iscsi_initiator == "kernel"
    plain = Told(HostVolume(source=FILE, options=DiskOptions()))
    assert cached(plain, conf) is plain
    assert brick_options(conf, tmp_path) == BrickOptions(
        lock_path=str(tmp_path / "locks"),
        root_helper="sudo -n",
        device_scan_attempts=5,
        mount_path=str(tmp_path / "mnt"),
        mount_options={"nfs": "", "cifs": "vers=3", "glusterfs": "", "quobyte": ""},
    )


@pytest.mark.parametrize("modes", [{"file": "fast"}, {"rbd": "none"}])
def test_a_cache_mode_that_there_is_not_is_no_setting(modes: dict[str, str]) -> None:
    conf = options.load(volume__disk_cachemodes=modes)
    with pytest.raises(Invalid, match="disk_cachemodes"):
        cached(Told(HostVolume(source=FILE, options=DiskOptions())), conf)


def test_cache_modes_are_configured_by_shape() -> None:
    conf = options.load(volume__disk_cachemodes={"file": "directsync"})
    connector = cached(Told(HostVolume(source=FILE, options=DiskOptions())), conf)
    assert connector.connect(CONNECTION).options.cache == "directsync"
