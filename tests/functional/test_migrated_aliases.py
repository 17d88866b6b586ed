"""A guest of an older release: at the worker's start its next start is given all aliases."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import libvirt
import pytest
from lxml import etree

from tests.guests import BOOT_TIMEOUT, Guest, GuestMaker
from tests.rig import MIB, Json, Rig, running
from worker import conf as options
from worker import wiring
from worker.cmd.main import main
from worker.model.block_device import BlockDevice, Bus, DeviceStatus, SourceType
from worker.model.ids import BlockDeviceId, InstanceId, PortId, new_uuid
from worker.model.instance import Instance, VmState
from worker.model.places.address import Address
from worker.model.places.controllers import interface_addresses
from worker.model.source import DiskFormat
from worker.model.specification import (
    Interface,
    InterfaceKind,
    LocalDisk,
    Shape,
    Specification,
)
from worker.persistence import migrate
from worker.persistence.repositories import Repositories
from worker.virt.xml.disk import address_tree
from worker.virt.xml.layout import read_layout
from worker.virt.xml.marks import without_aliases
from worker.wiring.core import SystemClock

INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE
MAC = "52:54:00:12:34:56"
PORTS = ("0a11a5e5-0000-4000-8000-000000000001", "0a11a5e5-0000-4000-8000-000000000002")
SHAPE = Shape(pcie_ports=10, usb=False)
HOST = "older"


@dataclass(frozen=True, kw_only=True)
class Older:
    """A running guest without any alias of ours, and the rows that a release before this kept."""

    guest: Guest
    state: Path
    uri: str
    root: str
    volumes: list[Json]
    kept: str
    live: str

    @property
    def aliases(self) -> set[str]:
        """The aliases that its rows name."""
        named = {row["alias"] for row in self.volumes}
        return named | {f"ua-{self.root}"} | {f"ua-{port}" for port in PORTS}

    @contextmanager
    def worker(self) -> Iterator[Rig]:
        with serving(self.state, self.uri) as rig:
            yield rig

    def command(self, *words: str) -> int:
        return main(["instance", *words, "--state-path", str(self.state)])


@contextmanager
def serving(state: Path, uri: str) -> Iterator[Rig]:
    with running(state, uri, bus="kombu+memory://localhost/", host=HOST) as rig:
        yield rig


def unnamed(make_guest: GuestMaker, folder: Path) -> tuple[Guest, str]:
    """Define a guest with a local root and two interfaces of one MAC; return it and its root."""
    state, root = folder / HOST, new_uuid()
    file = folder / root
    file.write_bytes(bytes(MIB))
    places = interface_addresses(SHAPE, len(PORTS))
    disk = f"""<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/>
      <source file='{file}'/><target dev='vda' bus='virtio'/>
      <iotune><total_bytes_sec>10485760</total_bytes_sec></iotune></disk>"""
    guest = make_guest(booted=False, extra_disks=[disk, *map(nic, places)])
    own = state / "instances" / guest.uuid / root
    own.parent.mkdir(parents=True)
    file.rename(own)
    define(guest, guest.domain.XMLDesc(INACTIVE).replace(str(file), str(own)))
    keep_rows(state, guest, root)
    return guest, root


@pytest.fixture
def older(libvirtd: str, make_guest: GuestMaker, tmp_path: Path) -> Older:
    state = tmp_path / HOST
    guest, root = unnamed(make_guest, tmp_path)
    with serving(state, libvirtd) as rig:
        rows = [
            rig.attach(guest.uuid, rig.volume(2 * MIB), disk_bus=bus) for bus in ("virtio", "scsi")
        ]
    define(guest, without_aliases(guest.domain.XMLDesc(INACTIVE)))
    change(state, "DELETE FROM peripherals")
    kept = guest.domain.XMLDesc(INACTIVE)
    guest.domain.create()
    guest.console.fresh(BOOT_TIMEOUT)
    return Older(
        guest=guest,
        state=state,
        uri=libvirtd,
        root=root,
        volumes=rows,
        kept=kept,
        live=guest.domain.XMLDesc(0),
    )


def nic(place: Address) -> str:
    address = etree.tostring(address_tree(place), encoding="unicode")
    return f"""<interface type='user'><mac address='{MAC}'/><model type='virtio'/>
      <rom enabled='no'/>{address}</interface>"""


def define(guest: Guest, text: str) -> None:
    guest.domain.connect().defineXML(text)


def keep_rows(state: Path, guest: Guest, root: str) -> None:
    """Write the rows of a guest that was built, with a local root and two ports."""
    conf = options.load(state_path=str(state), host=HOST)
    database = wiring.make_database(conf)
    migrate.upgrade(database.engine)
    (disk,) = read_layout(guest.domain.XMLDesc(INACTIVE)).disks
    local = LocalDisk(uuid=BlockDeviceId(root), size=MIB, format=DiskFormat.RAW)
    instance = Instance(
        uuid=InstanceId(guest.uuid),
        host=HOST,
        name=guest.name,
        vm_state=VmState.STOPPED,
        specification=Specification(
            vcpus=1,
            memory=160,
            shape=SHAPE,
            disks=(local,),
            interfaces=tuple(
                Interface(port=PortId(port), kind=InterfaceKind.USER, mac=MAC) for port in PORTS
            ),
        ),
    )
    row = BlockDevice(
        uuid=local.uuid,
        instance=instance.uuid,
        volume=None,
        device_name="/dev/vda",
        bus=Bus.VIRTIO,
        alias=f"ua-{root}",
        serial=root,
        address=disk.address,
        status=DeviceStatus.ATTACHED,
        source_type=SourceType.BLANK,
        boot_index=0,
    )
    Repositories(database, HOST, SystemClock()).for_call().instances.insert(instance, [row])
    database.engine.dispose()


def change(state: Path, statement: str, *values: str) -> None:
    with closing(sqlite3.connect(state / "blockworker.sqlite", timeout=30)) as database, database:
        database.execute(statement, values)


def plain(xml: str) -> bytes:
    """Return all that a text says but for aliases, spaces too."""
    return etree.tostring(etree.fromstring(without_aliases(xml)), method="c14n")


def aliases(guest: Guest, flags: int = 0) -> set[str]:
    found = (device.alias or "" for device in read_layout(guest.domain.XMLDesc(flags)).devices)
    return {alias for alias in found if alias.startswith("ua-")}


def live_targets(guest: Guest) -> set[str]:
    return {disk.target for disk in read_layout(guest.domain.XMLDesc(0)).disks}


def migrated(older: Older, rig: Rig) -> Json:
    """Wait for what is told of the migration that the start has asked for."""
    told = rig.wait_for_event("instance.aliases_migrated")["payload"]
    assert told["instance_uuid"] == older.guest.uuid
    assert (told["fault"], told["count"]) == (None, 5)
    return dict(told)


def detach_interfaces(older: Older, rig: Rig) -> None:
    """Take both out, one by one: they have one MAC, and each is to take its own with it."""
    places = interface_addresses(SHAPE, len(PORTS))
    for gone, port in enumerate(PORTS, start=1):
        ended = rig.run("detach_interface", instance_uuid=older.guest.uuid, port_id=port)
        assert ended["fault"] is None, ended
        for flags in (0, INACTIVE):
            left = read_layout(older.guest.domain.XMLDesc(flags)).interfaces
            assert [one.address for one in left] == list(places[gone:])


def test_a_start_gives_every_alias_and_changes_nothing_else(
    older: Older, capsys: pytest.CaptureFixture[str]
) -> None:
    assert aliases(older.guest, INACTIVE) == aliases(older.guest) == set()
    with older.worker() as rig:
        told = migrated(older, rig)
        assert {one["alias"] for one in told["devices"]} == older.aliases
        after = older.guest.domain.XMLDesc(INACTIVE)
        assert aliases(older.guest, INACTIVE) == older.aliases
        assert plain(after) == plain(older.kept)
        assert older.guest.domain.XMLDesc(0) == older.live

        assert older.command("migrate-aliases", "--json") == 0
        printed = json.loads(capsys.readouterr().out)
        assert {one["result"] for one in printed["devices"]} == {"borne"}
        assert older.guest.domain.XMLDesc(INACTIVE) == after
        assert older.command("export-xml", older.guest.uuid) == 0
        assert plain(capsys.readouterr().out) == plain(after)
        assert older.command("export-xml", older.guest.uuid, "--without-aliases") == 0
        bare = capsys.readouterr().out
        assert "ua-" not in bare
        assert plain(bare) == plain(after)

        older.guest.domain.destroy()
        older.guest.domain.create()
        older.guest.console.fresh(BOOT_TIMEOUT)
        assert aliases(older.guest) == older.aliases
        for row in older.volumes:
            assert rig.detach(row)["fault"] is None
        assert aliases(older.guest) == older.aliases - {row["alias"] for row in older.volumes}
        detach_interfaces(older, rig)
        assert aliases(older.guest) == aliases(older.guest, INACTIVE) == {f"ua-{older.root}"}


def test_by_hand_each_device_is_named_and_one_in_doubt_is_skipped(
    older: Older, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    twin = tmp_path / "twin"
    twin.write_bytes(bytes(MIB))
    with older.worker() as rig:
        migrated(older, rig)
        define(older.guest, older.kept)
        volume = older.volumes[0]["volume_id"]
        older.guest.domain.attachDeviceFlags(
            f"""<disk type='file' device='disk'><driver name='qemu' type='raw'/>
              <source file='{twin}'/><target dev='vdz' bus='virtio'/>
              <serial>{volume}</serial></disk>""",
            libvirt.VIR_DOMAIN_AFFECT_CONFIG,
        )
        doubtful = older.guest.domain.XMLDesc(INACTIVE)
        assert older.command("migrate-aliases", "--dry-run", "--json") == 3
        dry = json.loads(capsys.readouterr().out)
        assert older.guest.domain.XMLDesc(INACTIVE) == doubtful
        assert older.command("migrate-aliases", older.guest.uuid) == 3
        said = capsys.readouterr()
        assert aliases(older.guest, INACTIVE) == older.aliases - {older.volumes[0]["alias"]}
        assert plain(older.guest.domain.XMLDesc(INACTIVE)) == plain(doubtful)
    assert sorted(one["result"] for one in dry["devices"]) == ["given"] * 4 + ["skipped"]
    assert "4 given" in said.err
    assert "vdz" in said.err
    assert all(alias in said.out for alias in older.aliases)


def test_each_is_detached_live_though_the_running_guest_knows_no_alias(older: Older) -> None:
    with older.worker() as rig:
        migrated(older, rig)
        for row in older.volumes:
            assert rig.detach(row)["fault"] is None
            assert row["device_name"].removeprefix("/dev/") not in live_targets(older.guest)
        detach_interfaces(older, rig)
        assert live_targets(older.guest) == {"vda"}
        assert f"ua-{older.root}" in aliases(older.guest, INACTIVE)


def test_a_guest_that_cannot_be_migrated_is_reported_and_keeps_nothing_from_starting(
    libvirtd: str, make_guest: GuestMaker, tmp_path: Path
) -> None:
    """libvirt drops this alias without a word; another domain is gone altogether."""
    state = tmp_path / HOST
    (bad, root), (gone, _), (good, _) = (unnamed(make_guest, tmp_path) for _ in range(3))
    change(state, "UPDATE block_device_mapping SET alias = 'ua-no!' WHERE uuid = ?", root)
    gone.domain.undefine()
    before = bad.domain.XMLDesc(INACTIVE)
    with serving(state, libvirtd) as rig:
        assert len(rig.call("list_instances")) == 3
        told = {
            guest.uuid: rig.wait_for(
                lambda update, uuid=guest.uuid: (  # type: ignore[misc]
                    update["event_type"] == "instance.aliases_migrated"
                    and update["payload"]["instance_uuid"] == uuid
                )
            )["payload"]
            for guest in (bad, good)
        }
        assert (told[good.uuid]["count"], told[good.uuid]["fault"]) == (3, None)
        assert told[bad.uuid]["count"] == 0
        assert "did not keep" in told[bad.uuid]["fault"]["message"]
        assert rig.call("list_operations", state="stuck") == []
    assert bad.domain.XMLDesc(INACTIVE) == before
    assert len(aliases(good, INACTIVE)) == 3
