"""What libvirt makes of a domain whose devices are given their aliases: the aliases, nothing else.

The domain is one of other hands: two interfaces with one MAC, host devices, a LUN that is passed
through, what an edit could lose.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import libvirt
import pytest
from lxml import etree

from tests.guests import Guest, GuestMaker
from worker.errors import HypervisorRefused
from worker.model.guest import GuestDevice, Layout
from worker.model.identity.marking import MarkChange, marks_of
from worker.model.ids import InstanceId
from worker.virt.definitions import LibvirtDefinitions
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.xml.layout import read_layout
from worker.virt.xml.marks import without_aliases

INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE
MIB = 1 << 20
QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
MAC = "52:54:00:12:34:56"
NIC = f"<interface type='user'><mac address='{MAC}'/><model type='virtio'/></interface>"
# Devices that no test starts with: the domain is only kept.
PART = """<hostdev mode='subsystem' type='mdev' model='vfio-pci'>
  <source><address uuid='0c6b3b1e-0000-4000-8000-000000000001'/></source></hostdev>"""
CARD = """<hostdev mode='subsystem' type='pci' managed='yes'>
  <source><address domain='0x0000' bus='0x7f' slot='0x1f' function='0x3'/></source></hostdev>"""
LUN = """<disk type='network' device='lun'><driver name='qemu' type='raw'/>
  <source protocol='iscsi' name='iqn.2026-01.test:one/1'>
    <host name='127.0.0.1' port='3260'/>
    <auth username='them'><secret type='iscsi' usage='theirs'/></auth>
  </source><target dev='sdb' bus='scsi'/></disk>"""


def disk(path: Path, target: str, bus: str, more: str = "") -> str:
    with path.open("wb") as file:
        file.truncate(MIB)
    return f"""<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/>
      <source file='{path}'/>{more}<target dev='{target}' bus='{bus}'/></disk>"""


def strange(guest: Guest) -> None:
    """Give the domain what an edit could lose."""
    tree = etree.fromstring(guest.domain.XMLDesc(INACTIVE))
    tree.insert(
        2, etree.fromstring("<metadata><their:note xmlns:their='urn:their' a='1'/></metadata>")
    )
    command = etree.SubElement(tree, f"{{{QEMU}}}commandline", nsmap={"qemu": QEMU})
    etree.SubElement(command, f"{{{QEMU}}}env", name="THEIRS", value="1")
    guest.domain.connect().defineXML(etree.tostring(tree, encoding="unicode"))


@pytest.fixture
def connection(libvirtd: str) -> Iterator[LibvirtConnection]:
    opened = LibvirtConnection(libvirtd)
    yield opened
    opened.close()


@pytest.fixture
def make(make_guest: GuestMaker, tmp_path: Path) -> Guest:
    more = "<iotune><total_bytes_sec>1048576</total_bytes_sec></iotune>"
    block = "<blockio logical_block_size='4096' physical_block_size='4096'/>"
    devices = [
        disk(tmp_path / "a", "vda", "virtio", more),
        disk(tmp_path / "b", "sda", "scsi", block),
    ]
    guest = make_guest(booted=False, extra_disks=[*devices, LUN, NIC, NIC, PART, CARD])
    strange(guest)
    return guest


def kept(guest: Guest) -> Layout:
    return read_layout(guest.domain.XMLDesc(INACTIVE))


def given(device: GuestDevice, alias: str) -> MarkChange:
    return MarkChange(
        device=device,
        former=marks_of(device),
        wanted=replace(marks_of(device), alias=alias),
    )


def plain(xml: str) -> bytes:
    """Return what a text says but for aliases, however it is laid out."""
    tree = etree.fromstring(xml, etree.XMLParser(remove_blank_text=True))
    for alias in tree.findall("devices/*/alias"):
        parent = alias.getparent()
        assert parent is not None
        parent.remove(alias)
    return etree.tostring(tree, method="c14n")


def exact(xml: str) -> bytes:
    """Return all that a text says, spaces too; not by which quotes it is written."""
    return etree.tostring(etree.fromstring(xml), method="c14n")


def test_each_kind_is_given_its_alias_and_nothing_else_changes(
    make: Guest, connection: LibvirtConnection
) -> None:
    definitions, before = LibvirtDefinitions(connection), make.domain.XMLDesc(INACTIVE)
    devices = kept(make).devices
    assert [device.alias for device in devices] == [None] * 7
    changes = [given(device, f"ua-{number}") for number, device in enumerate(devices)]
    definitions.mark(InstanceId(make.uuid), changes)
    after = make.domain.XMLDesc(INACTIVE)
    assert [device.alias for device in kept(make).devices] == [f"ua-{n}" for n in range(7)]
    assert plain(after) == plain(before)
    assert exact(without_aliases(after)) == exact(before)
    definitions.mark(InstanceId(make.uuid), changes)
    assert make.domain.XMLDesc(INACTIVE) == after


def test_of_two_interfaces_with_one_mac_the_one_that_is_meant_is_marked(
    make: Guest, connection: LibvirtConnection
) -> None:
    first, second = kept(make).interfaces
    assert (first.mac, first.address != second.address) == (second.mac, True)
    LibvirtDefinitions(connection).mark(InstanceId(make.uuid), [given(second, "ua-second")])
    assert [one.alias for one in kept(make).interfaces] == [None, "ua-second"]


def test_an_alias_that_libvirt_drops_is_told_and_none_is_kept(
    make: Guest, connection: LibvirtConnection
) -> None:
    before = make.domain.XMLDesc(INACTIVE)
    (first, second), root = kept(make).interfaces, kept(make).disks[0]
    changes = [given(root, "ua-good"), given(first, "ua-bad!"), given(second, "theirs")]
    for wrong in changes[1:]:
        with pytest.raises(HypervisorRefused, match="did not keep"):
            LibvirtDefinitions(connection).mark(InstanceId(make.uuid), [changes[0], wrong])
        assert make.domain.XMLDesc(INACTIVE) == before
