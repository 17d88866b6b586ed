"""A domain's text in rescue: what is asked for is otherwise, and nothing else."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from worker.errors import HypervisorRefused, MachineUnsupported
from worker.model.block_device import Bus, DeviceType
from worker.model.disk import Disk
from worker.model.identity.alias import config_drive_alias
from worker.model.ids import InstanceId
from worker.model.machine import Kernel
from worker.model.places.address import DriveAddress, PciAddress, UsbAddress
from worker.model.rescue.words import RescueLayout, Spot, rescue_alias
from worker.model.source import BlockSource, DiskOptions, FileSource
from worker.virt.xml.layout import read_layout
from worker.virt.xml.rescue import rescue_text

INSTANCE = InstanceId("6f9a5bd0-5d50-4f3c-9c35-1a7c61d2e001")
RESCUE = Disk(
    alias=rescue_alias(INSTANCE),
    target="sdz",
    bus=Bus.USB,
    device_type=DeviceType.DISK,
    serial="0a5cf6b2-0000-4000-8000-000000000001",
    address=UsbAddress(port=2),
    source=FileSource(path="/instances/rescue"),
    options=DiskOptions(),
    boot_order=1,
)
STABLE = RescueLayout(disk=RESCUE)
ROOT = """<disk type="file" device="disk">
      <driver name="qemu" type="qcow2"/>
      <source file="/images/root"/>
      <target dev="vda" bus="virtio"/>
      <iotune><total_bytes_sec>1048576</total_bytes_sec></iotune>
      <serial>ROOT</serial>
      <alias name="ua-root"/>
      <address type="pci" domain="0x0000" bus="0x04" slot="0x00" function="0x0"/>
    </disk>"""
DATA = """<disk type="block" device="lun" sgio="unfiltered">
      <source dev="/dev/lun"><reservations managed="yes"/></source>
      <target dev="sda" bus="scsi"/>
      <address type="drive" controller="0" bus="0" target="0" unit="3"/>
    </disk>"""
CONFIG = f"""<disk type="file" device="cdrom">
      <source file="/instances/config"/>
      <target dev="sdb" bus="sata"/>
      <readonly/>
      <alias name="{config_drive_alias(INSTANCE)}"/>
    </disk>"""
NIC = '<interface type="user"><mac address="52:54:00:12:34:56"/></interface>'
BOOT = '<os>\n    <type arch="x86_64" machine="pc-q35-7.2">hvm</type>{}\n  </os>'


def text(devices: Sequence[str] = (ROOT, DATA, CONFIG, NIC), boot: str = "", more: str = "") -> str:
    return f"""<domain type="kvm">
  <name>web</name>
  <uuid>{INSTANCE}</uuid>
  {BOOT.format(boot)}{more}
  <devices>
    {"".join(f"{device}{chr(10)}    " for device in devices)}
  </devices>
</domain>"""


def rescued(before: str, layout: RescueLayout = STABLE) -> etree._Element:
    return etree.fromstring(rescue_text(before, layout))


def disks(domain: etree._Element) -> list[str]:
    return [target.get("dev", "") for target in domain.iterfind("devices/disk/target")]


def without_rescue(domain: etree._Element) -> str:
    """Return the text without the rescue disk and its indentation."""
    (devices,) = domain.findall("devices")
    (alias,) = devices.findall(f"disk/alias[@name='{RESCUE.alias}']")
    devices.remove(next(alias.iterancestors("disk")))
    return etree.tostring(domain, encoding="unicode")


def squeezed(told: str) -> str:
    return "".join(told.split())


def test_the_rescue_disk_is_written_behind_the_others_and_all_else_is_as_it_was() -> None:
    before = text()
    after = rescued(before)
    assert disks(after) == ["vda", "sda", "sdb", "sdz"]
    shown = read_layout(etree.tostring(after, encoding="unicode")).disks[-1]
    assert (shown.alias, shown.serial) == (RESCUE.alias, RESCUE.serial)
    assert (shown.address, shown.source) == (RESCUE.address, "/instances/rescue")
    assert shown.boot_order == 1
    assert squeezed(without_rescue(after)) == squeezed(before)


def test_words_of_others_stay() -> None:
    more = """<!-- ours -->
  <metadata><n:app xmlns:n="http://example.org/n"><n:owner>me</n:owner></n:app></metadata>
  <qemu:commandline xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0">
    <qemu:arg value="-no-hpet"/>
  </qemu:commandline>"""
    before = text(more=more)
    assert squeezed(without_rescue(rescued(before))) == squeezed(before)


def test_a_rescue_disk_that_is_the_first_goes_before_the_others() -> None:
    assert disks(rescued(text(), replace(STABLE, first=True))) == ["sdz", "vda", "sda", "sdb"]


@pytest.mark.parametrize("first", [False, True])
def test_a_guest_without_disks_has_the_rescue_disk_alone(*, first: bool) -> None:
    assert disks(rescued(text([NIC]), replace(STABLE, first=first))) == ["sdz"]


def test_only_what_is_kept_is_there_and_what_is_moved_is_elsewhere() -> None:
    spot = Spot(target="vdb", address=PciAddress(bus=9, slot=0))
    wanted = replace(STABLE, kept=("vda", "sdb"), moved={"vda": spot})
    after = rescued(text(), wanted)
    assert disks(after) == ["vdb", "sdb", "sdz"]
    root, config, _rescue = read_layout(etree.tostring(after, encoding="unicode")).disks
    assert (root.target, root.address, root.serial) == ("vdb", spot.address, "ROOT")
    assert (root.alias, root.source) == ("ua-root", "/images/root")
    assert config.target == "sdb"
    assert len(after.findall("devices/disk[1]/address")) == 1
    assert after.find("devices/disk[1]/iotune") is not None
    assert after.find("devices/interface") is not None


def test_a_disk_that_has_no_place_of_its_own_is_given_none() -> None:
    moved = {"vda": Spot(target="vdb", address=None)}
    after = rescued(text(), replace(STABLE, moved=moved))
    assert after.find("devices/disk[1]/address") is None
    assert len(after.findall("devices/disk[2]/address")) == 1


def test_a_disk_without_a_name_is_kept_where_all_are_and_never_moved() -> None:
    nameless = '<disk type="file" device="cdrom"/>'
    moved = {"": Spot(target="vdb", address=None)}
    after = rescued(text([nameless, ROOT]), replace(STABLE, moved=moved))
    assert len(after.findall("devices/disk")) == 3
    assert disks(after) == ["vda", "sdz"]


def test_nothing_else_is_booted_from() -> None:
    order = '<boot order="{}"/>'
    booted = [
        ROOT.replace("</disk>", order.format(1) + "</disk>"),
        NIC.replace("</interface>", order.format(2) + "</interface>"),
        f'<hostdev mode="subsystem" type="usb">{order.format(3)}</hostdev>',
        f'<redirdev bus="usb" type="tcp">{order.format(4)}</redirdev>',
    ]
    after = rescued(text(booted))
    ((only, target),) = [(one, one.find("target")) for one in after.findall("devices/*[boot]")]
    assert target is not None
    assert (only.tag, target.get("dev")) == ("disk", "sdz")


def test_a_boot_list_of_other_hands_goes_and_the_rest_of_the_firmware_stays() -> None:
    """libvirt refuses such a list beside a device's own number."""
    listed = '<boot dev="hd"/><boot dev="network"/>'
    firmware = (
        '<loader readonly="yes" type="pflash">/ovmf</loader><nvram template="/t">/nvram</nvram>'
        '<bootmenu enable="yes"/><bios useserial="yes"/>'
    )
    after = rescued(text(boot=firmware + listed))
    assert after.find("os/boot") is None
    assert [child.tag for child in after.iterfind("os/*")] == [
        *("type", "loader", "nvram", "bootmenu", "bios"),
    ]
    assert after.findtext("os/nvram") == "/nvram"


OWN_KERNEL = "<kernel>/own</kernel><initrd>/own.rd</initrd><cmdline>own</cmdline>"


def kernel_of(domain: etree._Element) -> dict[str, Any]:
    found = [child for child in domain.iterfind("os/*") if child.tag != "type"]
    assert len({child.tag for child in found}) == len(found)
    return {str(child.tag): child.text for child in found}


@pytest.mark.parametrize("own", ["", OWN_KERNEL, OWN_KERNEL + "<shim>/shim</shim>"])
@pytest.mark.parametrize(
    ("kernel", "wanted"),
    [
        (None, {}),
        (Kernel(kernel="/k"), {"kernel": "/k"}),
        (
            Kernel(kernel="/k", ramdisk="/r", command_line="a <b>"),
            {"kernel": "/k", "initrd": "/r", "cmdline": "a <b>"},
        ),
    ],
)
def test_the_kernel_is_the_rescues_own_or_none(
    own: str, kernel: Kernel | None, wanted: dict[str, str]
) -> None:
    """The guest's would boot the guest, not what is on the rescue disk."""
    assert kernel_of(rescued(text(boot=own), replace(STABLE, kernel=kernel))) == wanted


def test_a_text_that_says_nothing_of_firmware_or_devices_is_filled() -> None:
    bare = f"<domain type='kvm'><uuid>{INSTANCE}</uuid></domain>"
    after = rescued(bare, replace(STABLE, kernel=Kernel(kernel="/k")))
    assert kernel_of(after) == {"kernel": "/k"}
    assert disks(after) == ["sdz"]


def test_the_config_drive_alone_shows_another_content() -> None:
    before = text()
    after = rescued(before, replace(STABLE, config=FileSource(path="/instances/config.rescue")))
    expected = before.replace("/instances/config", "/instances/config.rescue")
    assert squeezed(without_rescue(after)) == squeezed(expected)


def test_a_config_drive_of_another_kind_is_found_by_its_alias() -> None:
    after = rescued(text(), replace(STABLE, config=BlockSource(path="/dev/config")))
    (config,) = after.findall("devices/disk[readonly]")
    assert config.get("type") == "block"
    assert [dict(source.attrib) for source in config.findall("source")] == [{"dev": "/dev/config"}]


ADDED = {
    Bus.SATA: {"type": "sata", "index": "0"},
    Bus.SCSI: {"type": "scsi", "index": "0", "model": "virtio-scsi"},
    Bus.FDC: {"type": "fdc", "index": "0"},
}


@pytest.mark.parametrize("bus", Bus)
def test_a_controller_is_added_where_the_guest_has_none(bus: Bus) -> None:
    disk = replace(RESCUE, bus=bus, address=DriveAddress(kind=bus.value, unit=1))
    found = rescued(text(), RescueLayout(disk=disk)).findall("devices/controller")
    assert [dict(one.attrib) for one in found] == ([ADDED[bus]] if bus in ADDED else [])


@pytest.mark.parametrize("bus", ADDED)
def test_a_controller_that_is_there_is_the_only_one(bus: Bus) -> None:
    there = f'<controller type="{bus}" index="0" model="its-own"/>'
    disk = replace(RESCUE, bus=bus, address=DriveAddress(kind=bus.value, unit=1))
    found = rescued(text([there, ROOT]), RescueLayout(disk=disk)).findall("devices/controller")
    assert [one.get("model") for one in found] == ["its-own"]


@pytest.mark.parametrize("bad", ["no text", "<network/>", ""])
def test_a_text_of_no_domain_is_refused(bad: str) -> None:
    with pytest.raises(HypervisorRefused):
        rescue_text(bad, STABLE)


def test_what_no_xml_holds_is_refused() -> None:
    """An image's owner chooses the command line."""
    kernel = Kernel(kernel="/k", command_line="console=\x07")
    with pytest.raises(MachineUnsupported, match="written as XML"):
        rescue_text(text(), replace(STABLE, kernel=kernel))
    odd = replace(RESCUE, source=FileSource(path="/\x07"))
    with pytest.raises(MachineUnsupported):
        rescue_text(text(), RescueLayout(disk=odd))


@given(
    targets=st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=6),
    kept=st.none() | st.frozensets(st.sampled_from("abcdefgh")),
    first=st.booleans(),
)
def test_any_choice_of_disks_keeps_their_order_and_each_once(
    targets: list[str], kept: frozenset[str] | None, *, first: bool
) -> None:
    names = [f"vd{letter}" for letter in targets]
    devices = [f'<disk type="file" device="disk"><target dev="{name}"/></disk>' for name in names]
    chosen = None if kept is None else tuple(f"vd{letter}" for letter in kept)
    wanted = [name for name in names if chosen is None or name in chosen]
    after = disks(rescued(text(devices), replace(STABLE, kept=chosen, first=first)))
    assert after == (["sdz", *wanted] if first else [*wanted, "sdz"])
