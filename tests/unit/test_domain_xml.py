"""The XML that libvirt is given, and what is read out of the XML that it gives."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from worker.errors import HypervisorRefused
from worker.model.block_device import Bus, DeviceType
from worker.model.disk import Disk
from worker.model.places.address import Address, DriveAddress, PciAddress, UsbAddress
from worker.model.source import BlockSource, DiskOptions, DiskSource, FileSource, IscsiSource
from worker.virt.xml.disk import disk_element
from worker.virt.xml.layout import read_layout

DISK = Disk(
    alias="ua-6ad1ac43-7ac3-4a0d-bcd7-d5b5a1a1a2d1",
    target="vdb",
    bus=Bus.VIRTIO,
    device_type=DeviceType.DISK,
    serial="6ad1ac43-7ac3-4a0d-bcd7-d5b5a1a1a2d1",
    address=PciAddress(bus=5, slot=0),
    source=BlockSource(path="/dev/mapper/volume"),
    options=DiskOptions(io="native", discard="unmap"),
)

Q35 = """
<domain type='qemu' id='3'>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
  <devices>
    <controller type='pci' index='0' model='pcie-root'/>
    <controller type='pci' index='2' model='pcie-root-port'>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x01' function='0x1'/>
    </controller>
    <controller type='pci' index='10' model='pcie-root-port'/>
    <controller type='pci' index='1' model='pcie-root-port'/>
    <controller type='pci' index='3' model='pcie-root-port'><target hotplug='off'/></controller>
    <controller type='pci' index='4' model='pcie-to-pci-bridge'/>
    <controller type='scsi' index='1' model='lsilogic'/>
    <controller type='scsi' index='0' model='virtio-scsi'/>
    <controller type='scsi' index='2' model='vmpvscsi'/>
    <controller type='sata' index='0'/>
    <controller type='usb' index='0' model='ich9-ehci1'/>
    <controller type='usb' index='0' model='ich9-uhci1'><master startport='0'/></controller>
    <controller type='usb' index='1' model='qemu-xhci' ports='15'/>
    <controller type='usb' index='2' model='none'/>
    <disk type='file' device='disk'>
      <source file='/images/root'/>
      <target dev='vda' bus='virtio'/>
      <alias name='virtio-disk0'/>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>
    </disk>
    <disk type='network' device='disk'>
      <source protocol='rbd' name='pool/image'><host name='mon'/></source>
      <target dev='sda' bus='scsi'/>
      <serial>a-serial</serial>
      <address type='drive' controller='0' bus='0' target='0' unit='3'/>
    </disk>
    <disk device='cdrom'>
      <target dev='sdb' bus='sata'/>
      <address type='drive' controller='0' bus='0' target='0' unit='2'/>
    </disk>
    <hostdev mode='subsystem' type='scsi'>
      <source><adapter name='scsi_host0'/><address bus='7' target='0' unit='9'/></source>
      <address type='drive' controller='0' bus='0' target='0' unit='5'/>
    </hostdev>
    <hostdev mode='subsystem' type='pci'>
      <source><address domain='0x0000' bus='0xff' slot='0x1f' function='0x0'/></source>
      <address type='pci' domain='0x0000' bus='0x02' slot='0x00' function='0x0'/>
    </hostdev>
    <redirdev bus='usb'><address type='usb' bus='1' port='4'/></redirdev>
    <hub type='usb'><address type='usb' bus='0' port='1'/></hub>
    <input type='tablet'><address type='usb' bus='0' port='1.2'/></input>
    <memory model='dimm'><address type='dimm' slot='0' base='0x100000000'/></memory>
  </devices>
</domain>
"""

PC = """
<domain type='qemu'>
  <os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type></os>
  <devices>
    <controller type='pci' index='0' model='pci-root'/>
    <controller type='pci' index='1' model='pci-bridge'/>
    <controller type='usb' index='0' model='piix3-uhci'/>
    <controller type='fdc' index='0'/>
    <video><address type='pci' domain='0x0000' bus='0x00' slot='0x02' function='0x0'/></video>
  </devices>
</domain>
"""


def parsed(disk: Disk) -> etree._Element:
    return etree.fromstring(disk_element(disk))


def attributes(disk: Disk, child: str) -> dict[str, str]:
    element = parsed(disk).find(child)
    assert element is not None
    return {str(name): str(value) for name, value in element.attrib.items()}


def test_a_disk_says_all_that_was_decided_about_it() -> None:
    assert disk_element(DISK) == (
        '<disk type="block" device="disk">'
        '<driver name="qemu" type="raw" cache="none" io="native" discard="unmap"/>'
        '<alias name="ua-6ad1ac43-7ac3-4a0d-bcd7-d5b5a1a1a2d1"/>'
        '<source dev="/dev/mapper/volume"/>'
        '<target dev="vdb" bus="virtio"/>'
        "<serial>6ad1ac43-7ac3-4a0d-bcd7-d5b5a1a1a2d1</serial>"
        '<address type="pci" domain="0x0000" bus="0x05" slot="0x00" function="0x0"/>'
        "</disk>"
    )


def test_a_lun_over_iscsi_says_who_logs_in_where_and_has_no_serial() -> None:
    source = IscsiSource(
        host="192.0.2.7", port=3261, iqn="iqn.2026-11.org.example:a", lun=4, initiator="iqn.us:here"
    )
    lun = replace(DISK, bus=Bus.SCSI, target="sdb", device_type=DeviceType.LUN, source=source)
    assert disk_element(replace(lun, address=DriveAddress(kind="scsi", unit=1))) == (
        '<disk type="network" device="lun">'
        '<driver name="qemu" type="raw" cache="none" io="native" discard="unmap"/>'
        '<alias name="ua-6ad1ac43-7ac3-4a0d-bcd7-d5b5a1a1a2d1"/>'
        '<source protocol="iscsi" name="iqn.2026-11.org.example:a/4">'
        '<host name="192.0.2.7" port="3261"/><initiator><iqn name="iqn.us:here"/></initiator>'
        "</source>"
        '<target dev="sdb" bus="scsi"/>'
        '<address type="drive" controller="0" bus="0" target="0" unit="1"/>'
        "</disk>"
    )


@pytest.mark.parametrize(
    ("options", "cache", "io"),
    [
        (DiskOptions(), "none", None),
        (DiskOptions(cache="none", io="native"), "none", "native"),
        (DiskOptions(cache="directsync", io="native"), "directsync", "native"),
        (DiskOptions(cache="writeback", io="native"), "writeback", "threads"),
        (DiskOptions(cache="writethrough", io="native"), "writethrough", "threads"),
        (DiskOptions(cache="writeback", io="io_uring"), "writeback", "io_uring"),
        (DiskOptions(cache="writeback", io="native", shareable=True), "none", "native"),
    ],
)
def test_native_io_goes_with_an_uncached_disk_alone(
    options: DiskOptions, cache: str, io: str | None
) -> None:
    driver = attributes(replace(DISK, options=options), "driver")
    assert (driver["cache"], driver.get("io")) == (cache, io)


@pytest.mark.parametrize("device_type", DeviceType)
def test_a_lun_and_a_floppy_have_no_serial(device_type: DeviceType) -> None:
    element = parsed(replace(DISK, bus=Bus.SCSI, device_type=device_type))
    has_one = device_type in {DeviceType.DISK, DeviceType.CDROM}
    assert element.get("device") == device_type.value
    assert (element.find("serial") is not None) is has_one


@pytest.mark.parametrize("flag", ["read_only", "shareable"])
def test_a_flag_is_an_element_of_its_own(flag: str) -> None:
    element = flag.replace("_", "")
    with_flag = DiskOptions(read_only=flag == "read_only", shareable=flag == "shareable")
    assert parsed(DISK).find(element) is None
    assert parsed(replace(DISK, options=with_flag)).find(element) is not None


def test_a_path_that_xml_cannot_hold_is_refused() -> None:
    with pytest.raises(HypervisorRefused, match="cannot be written as XML"):
        disk_element(replace(DISK, source=FileSource(path="/images/\x01")))


small = st.integers(min_value=0, max_value=255)
plain = st.text(alphabet=st.characters(categories=["L", "N", "P"]), min_size=1)
addresses: st.SearchStrategy[Address] = st.one_of(
    st.builds(PciAddress, domain=small, bus=small, slot=small, function=small),
    st.builds(
        DriveAddress, kind=st.just("scsi"), controller=small, bus=small, target=small, unit=small
    ),
    st.builds(UsbAddress, bus=small, port=small),
)
sources: st.SearchStrategy[DiskSource] = st.one_of(
    st.builds(BlockSource, path=plain),
    st.builds(FileSource, path=plain),
    st.builds(
        IscsiSource,
        host=st.sampled_from(["storage", "192.0.2.7", "2001:db8::7"]),
        port=st.integers(min_value=1, max_value=65535),
        iqn=st.sampled_from(["iqn.2026-11.org.example:a", "eui.02004567a425678d"]),
        lun=small,
        initiator=plain,
    ),
)


@given(
    address=st.none() | addresses,
    source=sources,
    serial=st.none() | plain,
    alias=plain,
    target=plain,
)
def test_what_was_written_is_what_is_read(
    address: Address | None, source: DiskSource, serial: str | None, alias: str, target: str
) -> None:
    disk = Disk(
        alias=alias,
        target=target,
        bus=Bus.SCSI,
        device_type=DeviceType.DISK,
        serial=serial,
        address=address,
        source=source,
        options=DiskOptions(),
    )
    layout = read_layout(f"<domain><devices>{disk_element(disk)}</devices></domain>")
    (shown,) = layout.disks
    assert (shown.alias, shown.target, shown.bus) == (alias, target, "scsi")
    assert (shown.serial, shown.source, shown.address) == (serial, source.name, address)
    assert layout.taken == (frozenset() if address is None else {address})


def test_every_disk_is_shown_whatever_it_lacks() -> None:
    disks = {disk.target: disk for disk in read_layout(Q35).disks}
    assert [disk.source for disk in disks.values()] == ["/images/root", "rbd:pool/image", None]
    assert [disk.alias for disk in disks.values()] == ["virtio-disk0", None, None]
    assert [disk.serial for disk in disks.values()] == [None, "a-serial", None]
    assert disks["sdb"].address == DriveAddress(kind="sata", unit=2)


def test_the_address_of_every_device_is_taken() -> None:
    assert read_layout(Q35).taken == {
        PciAddress(bus=0, slot=1, function=1),
        PciAddress(bus=1, slot=0),
        PciAddress(bus=2, slot=0),
        DriveAddress(kind="scsi", unit=3),
        DriveAddress(kind="scsi", unit=5),
        DriveAddress(kind="sata", unit=2),
        UsbAddress(bus=1, port=4),
        UsbAddress(bus=0, port=1),
    }


def test_a_q35_offers_its_root_ports_before_the_slots_of_a_bridge() -> None:
    virtio = read_layout(Q35).places[Bus.VIRTIO]
    ports = tuple(PciAddress(bus=bus, slot=0) for bus in (1, 2, 10))
    assert virtio == ports + tuple(PciAddress(bus=4, slot=slot) for slot in range(1, 32))


def test_a_q35_has_no_ide_and_a_guest_without_its_controller_no_floppy() -> None:
    assert set(read_layout(Q35).places) == {Bus.VIRTIO, Bus.SCSI, Bus.SATA, Bus.USB}


def test_scsi_offers_the_units_of_the_models_that_we_know() -> None:
    scsi = read_layout(Q35).places[Bus.SCSI]
    virtio = tuple(DriveAddress(kind="scsi", unit=unit) for unit in range(256))
    assert scsi == virtio + tuple(
        DriveAddress(kind="scsi", controller=1, unit=unit) for unit in range(7)
    )


def test_sata_has_six_ports() -> None:
    sata = read_layout(Q35).places[Bus.SATA]
    assert sata == tuple(DriveAddress(kind="sata", unit=unit) for unit in range(6))


def test_usb_companions_share_the_ports_of_their_controller() -> None:
    usb = read_layout(Q35).places[Bus.USB]
    assert usb == (
        *(UsbAddress(bus=0, port=port) for port in range(1, 7)),
        *(UsbAddress(bus=1, port=port) for port in range(1, 16)),
    )


def test_a_pc_keeps_the_slots_of_its_south_bridge_and_its_display() -> None:
    layout = read_layout(PC)
    assert layout.places[Bus.VIRTIO] == (
        *(PciAddress(bus=0, slot=slot) for slot in range(3, 32)),
        *(PciAddress(bus=1, slot=slot) for slot in range(1, 32)),
    )
    assert layout.taken == {PciAddress(bus=0, slot=2)}


def test_a_pc_has_two_ide_channels_two_floppies_and_two_usb_ports() -> None:
    places = read_layout(PC).places
    assert [str(place) for place in places[Bus.IDE]] == [
        "ide:0:0:0:0",
        "ide:0:0:0:1",
        "ide:0:1:0:0",
        "ide:0:1:0:1",
    ]
    assert [str(place) for place in places[Bus.FDC]] == ["fdc:0:0:0:0", "fdc:0:0:0:1"]
    assert places[Bus.USB] == (UsbAddress(port=1), UsbAddress(port=2))


def test_a_guest_with_its_ports_used_up_still_has_the_bus() -> None:
    xml = "<domain><devices><controller type='pci' model='pcie-root'/></devices></domain>"
    assert read_layout(xml).places == {Bus.VIRTIO: ()}


@pytest.mark.parametrize("xml", ["<domain/>", "<domain><devices/></domain>", "<a><b/></a>"])
def test_a_guest_without_devices_offers_nothing(xml: str) -> None:
    layout = read_layout(xml)
    assert (layout.disks, layout.taken, layout.places) == ((), frozenset(), {})


@pytest.mark.parametrize("text", ["", "no XML", "<domain>", "<domain>&unknown;</domain>"])
def test_what_is_no_xml_is_no_empty_guest(text: str) -> None:
    with pytest.raises(HypervisorRefused, match="cannot be read"):
        read_layout(text)


TAGS = [
    *("devices", "disk", "controller", "address", "target", "alias", "source", "serial", "hostdev"),
    *("interface", "os", "type", "hub", "master"),
]
NAMES = [
    *("type", "model", "index", "bus", "slot", "unit", "port", "ports", "domain", "function"),
    *("controller", "target", "dev", "name", "file", "machine", "hotplug"),
]
VALUES = [
    *("pci", "drive", "usb", "scsi", "sata", "fdc", "virtio", "virtio-scsi", "qemu-xhci", "none"),
    *("pcie-root-port", "pci-root", "pci-bridge", "0x1f", "0x", "-1", "08", "1.2", "٣", "", "zz"),
    *("99999999999999999999", "1e3", "pc-i440fx-7.2"),
]


@st.composite
def elements(draw: st.DrawFn, depth: int = 2) -> etree._Element:
    names = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), max_size=5)
    element = etree.Element(draw(st.sampled_from(TAGS)), draw(names))
    if depth:
        element.extend(draw(st.lists(elements(depth=depth - 1), max_size=4)))
    return element


@given(st.lists(elements(), max_size=8))
def test_no_xml_whatever_stops_the_reading(devices: list[etree._Element]) -> None:
    domain = etree.Element("domain")
    etree.SubElement(domain, "devices").extend(devices)
    layout = read_layout(etree.tostring(domain, encoding="unicode"))
    assert all(len(places) <= 256 * 32 for places in layout.places.values())
