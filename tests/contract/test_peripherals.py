"""What every hypervisor promises of interfaces and host devices, the fake one included."""

import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import libvirt
import pytest
from lxml import etree

from tests.contract.daemons import Ear
from tests.contract.peripheral_labs import (
    FOREIGN_MAC,
    PERIPHERAL_LABS,
    LibvirtLab,
    PeripheralLab,
)
from tests.fakes.peripherals import shown_peripheral
from tests.fakes.world import ShownPeripheral
from tests.rings import require
from worker.errors import DomainNotFound, GuestBusy, HypervisorRefused
from worker.model.block_device import Bus, DeviceType
from worker.model.disk import Disk
from worker.model.guest import DeviceRemoved, Layout
from worker.model.host_device import HostDevice, HostDeviceKind, parse_host_device
from worker.model.identity.alias import alias_of
from worker.model.ids import InstanceId, PeripheralId, PortId, new_uuid
from worker.model.peripheral import Peripheral, Plugged
from worker.model.places.address import Address, first_free
from worker.model.places.placement import place_peripheral
from worker.model.source import DiskOptions, FileSource
from worker.model.specification import Interface, InterfaceKind
from worker.virt.peripherals import peripheral_element
from worker.virt.qemu.ghosts import lay_ghost
from worker.virt.qemu.monitor import ask

MAC = "52:54:00:00:00:01"
MIB = 1024 * 1024
PCI, USB, USB_PORT, MEDIATED = HOST_DEVICES = [
    # No host has a PCI device there: one that it had would be taken from its driver.
    parse_host_device("pci:00fe:03:1f.7"),
    parse_host_device("usb:046d:c52b"),
    parse_host_device("usb:1.14"),
    parse_host_device("mdev:11111111-2222-3333-4444-555555555555"),
]


@pytest.fixture(scope="module", params=PERIPHERAL_LABS)
def lab(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PeripheralLab]:
    with PERIPHERAL_LABS[request.param](request, tmp_path_factory.mktemp("lab")) as opened:
        yield opened


@pytest.fixture
def guest(lab: PeripheralLab) -> InstanceId:
    return lab.running()


@pytest.fixture
def off(lab: PeripheralLab) -> InstanceId:
    return lab.stopped()


only_libvirt = pytest.mark.parametrize("lab", ["libvirt"], indirect=True)


def user_mode(mac: str = MAC, model: str = "virtio") -> Interface:
    return Interface(port=PortId(new_uuid()), kind=InterfaceKind.USER, mac=mac, model=model)


def make(lab: PeripheralLab, guest: InstanceId, what: Plugged | None = None) -> Peripheral:
    """Return a peripheral for the first place that is free in both layouts."""
    wanted = what or user_mode()
    uuid = PeripheralId(new_uuid())
    address = place_peripheral(lab.guests.describe(guest), [], [], wanted)
    return Peripheral(uuid=uuid, instance=guest, what=wanted, alias=alias_of(uuid), address=address)


def last_place(lab: PeripheralLab, guest: InstanceId, bus: Bus) -> Address | None:
    """Return the free place that no hypervisor would choose by itself."""
    (layout, *_others) = lab.guests.describe(guest).layouts
    return first_free(reversed(layout.places[bus]), layout.taken)


def of(layout: Layout | None) -> set[ShownPeripheral]:
    assert layout is not None
    return {*layout.interfaces, *layout.host_devices}


def live(lab: PeripheralLab, guest: InstanceId) -> set[ShownPeripheral]:
    return of(lab.guests.describe(guest).live)


def persistent(lab: PeripheralLab, guest: InstanceId) -> set[ShownPeripheral]:
    return of(lab.guests.describe(guest).persistent)


def both(lab: PeripheralLab, guest: InstanceId) -> list[set[ShownPeripheral]]:
    return [of(layout) for layout in lab.guests.describe(guest).layouts]


def shown(*peripherals: Peripheral) -> set[ShownPeripheral]:
    return {shown_peripheral(each) for each in peripherals}


def test_an_attached_interface_is_the_same_in_both_layouts_and_inside(
    lab: PeripheralLab, guest: InstanceId
) -> None:
    nic = make(lab, guest)
    lab.peripherals.attach(guest, nic)
    assert both(lab, guest) == [shown(nic), shown(nic)]
    assert all(nic.address in layout.taken for layout in lab.guests.describe(guest).layouts)
    lab.wait_until_seen(guest, MAC)


def test_of_two_interfaces_with_one_mac_the_one_that_is_meant_goes(
    lab: PeripheralLab, guest: InstanceId
) -> None:
    first = make(lab, guest)
    lab.peripherals.attach(guest, first)
    second = make(lab, guest)
    lab.peripherals.attach(guest, second)
    lab.wait_until_seen(guest, MAC, MAC)
    assert both(lab, guest) == [shown(first, second)] * 2

    lab.peripherals.unplug(guest, first.alias)
    assert both(lab, guest) == [shown(second), shown(first, second)]
    lab.peripherals.forget(guest, first.alias)

    assert both(lab, guest) == [shown(second)] * 2
    lab.wait_until_seen(guest, MAC)


def test_a_later_twin_goes_and_the_first_one_stays(lab: PeripheralLab, guest: InstanceId) -> None:
    first = make(lab, guest)
    lab.peripherals.attach(guest, first)
    second = make(lab, guest)
    lab.peripherals.attach(guest, second)
    lab.peripherals.forget(guest, second.alias)
    assert both(lab, guest) == [shown(first, second), shown(first)]
    lab.peripherals.unplug(guest, second.alias)
    assert both(lab, guest) == [shown(first)] * 2


def test_it_goes_where_it_is_told_and_not_to_the_first_free_place(
    lab: PeripheralLab, guest: InstanceId
) -> None:
    last = last_place(lab, guest, Bus.VIRTIO)
    lab.peripherals.attach(guest, replace(make(lab, guest), address=last))
    assert [one.address for layout in both(lab, guest) for one in layout] == [last, last]


def test_an_attach_that_has_happened_changes_nothing(lab: PeripheralLab, guest: InstanceId) -> None:
    nic = make(lab, guest)
    lab.peripherals.attach(guest, nic)
    before = lab.guests.describe(guest)
    lab.peripherals.attach(guest, nic)
    assert lab.guests.describe(guest) == before


def test_an_attach_completes_the_layout_that_lacks_it(
    lab: PeripheralLab, guest: InstanceId
) -> None:
    nic = make(lab, guest)
    lab.peripherals.attach(guest, nic)
    lab.peripherals.unplug(guest, nic.alias)
    lab.peripherals.attach(guest, nic)
    assert both(lab, guest) == [shown(nic)] * 2
    lab.peripherals.forget(guest, nic.alias)
    lab.peripherals.attach(guest, nic)
    assert both(lab, guest) == [shown(nic)] * 2


@pytest.mark.parametrize("part", ["mac", "model", "address"])
def test_an_alias_that_another_interface_has_is_refused(
    lab: PeripheralLab, guest: InstanceId, part: str
) -> None:
    nic = make(lab, guest)
    lab.peripherals.attach(guest, nic)
    whats = {"mac": user_mode("52:54:00:00:00:02"), "model": user_mode(model="e1000")}
    other = replace(nic, what=whats.get(part, nic.what))
    if part == "address":
        other = replace(nic, address=make(lab, guest).address)
    with pytest.raises(HypervisorRefused, match=nic.alias):
        lab.peripherals.attach(guest, other)
    assert both(lab, guest) == [shown(nic)] * 2


def make_disk(alias: str, address: Address | None, folder: Path) -> Disk:
    path = folder / "disk"
    path.write_bytes(bytes(MIB))
    return Disk(
        alias=alias,
        target="vdb",
        bus=Bus.VIRTIO,
        device_type=DeviceType.DISK,
        serial=new_uuid(),
        address=address,
        source=FileSource(path=str(path)),
        options=DiskOptions(),
    )


@pytest.mark.parametrize("part", ["alias", "address"])
def test_what_a_disk_has_is_refused(
    lab: PeripheralLab, guest: InstanceId, tmp_path: Path, part: str
) -> None:
    there = make(lab, guest)
    disk = make_disk(there.alias, there.address, tmp_path)
    lab.disks.attach(guest, disk)
    nic = make(lab, guest)
    wanted = replace(nic, **{part: getattr(there, part)})
    with pytest.raises(HypervisorRefused):
        lab.peripherals.attach(guest, wanted)
    assert both(lab, guest) == [set(), set()]
    lab.disks.unplug(guest, disk.alias)
    lab.disks.forget(guest, disk.alias)


def test_a_place_that_another_interface_has_is_refused(
    lab: PeripheralLab, guest: InstanceId, tmp_path: Path
) -> None:
    nic = make(lab, guest)
    lab.peripherals.attach(guest, nic)
    with pytest.raises(HypervisorRefused):
        lab.peripherals.attach(guest, replace(make(lab, guest), address=nic.address))
    with pytest.raises(HypervisorRefused):
        lab.disks.attach(guest, make_disk("ua-disk", nic.address, tmp_path))
    assert both(lab, guest) == [shown(nic)] * 2


@pytest.mark.parametrize("alias", ["net0", "ua-", "ua-a.b", "ua-ä", ""])
def test_an_alias_that_would_be_dropped_is_refused(
    lab: PeripheralLab, guest: InstanceId, alias: str
) -> None:
    with pytest.raises(HypervisorRefused, match="drop"):
        lab.peripherals.attach(guest, replace(make(lab, guest), alias=alias))
    assert both(lab, guest) == [set(), set()]


def test_what_no_text_can_hold_is_refused(lab: PeripheralLab, off: InstanceId) -> None:
    what = replace(user_mode(), kind=InterfaceKind.BRIDGE, target="br\x000")
    with pytest.raises(HypervisorRefused):
        lab.peripherals.attach(off, make(lab, off, what))


def test_an_unknown_guest_takes_nothing(lab: PeripheralLab, guest: InstanceId) -> None:
    with pytest.raises(DomainNotFound):
        lab.peripherals.attach(InstanceId(new_uuid()), make(lab, guest))


def test_taking_away_what_is_not_there_is_fine(lab: PeripheralLab, guest: InstanceId) -> None:
    lab.peripherals.attach(guest, make(lab, guest))
    before = lab.guests.describe(guest)
    for instance in (guest, InstanceId(new_uuid())):
        lab.peripherals.unplug(instance, "ua-nobody")
        lab.peripherals.forget(instance, "ua-nobody")
    assert lab.guests.describe(guest) == before


def test_a_paused_guest_takes_an_interface_and_lets_go_of_none(
    lab: PeripheralLab, guest: InstanceId
) -> None:
    nic = make(lab, guest)
    lab.pause(guest)
    lab.peripherals.attach(guest, nic)
    lab.resume(guest)
    lab.wait_until_seen(guest, MAC)
    lab.pause(guest)
    with pytest.raises(GuestBusy):
        lab.hurried.unplug(guest, nic.alias)
    assert both(lab, guest) == [shown(nic)] * 2
    lab.resume(guest)
    lab.peripherals.unplug(guest, nic.alias)
    assert both(lab, guest) == [set(), shown(nic)]


def test_what_bears_the_hypervisors_own_alias_goes_by_it(
    lab: PeripheralLab, guest: InstanceId
) -> None:
    own = lab.give_foreign(guest)
    assert not own.startswith("ua-")
    lab.wait_until_seen(guest, FOREIGN_MAC)
    nic = make(lab, guest, user_mode(FOREIGN_MAC))
    lab.peripherals.attach(guest, nic)
    lab.wait_until_seen(guest, FOREIGN_MAC, FOREIGN_MAC)

    lab.peripherals.unplug(guest, own)

    assert both(lab, guest) == [shown(nic)] * 2
    lab.wait_until_seen(guest, FOREIGN_MAC)


def test_a_stopped_guest_has_its_interface_when_it_starts(
    lab: PeripheralLab, off: InstanceId
) -> None:
    nic = make(lab, off)
    lab.peripherals.attach(off, nic)
    assert both(lab, off) == [shown(nic)]
    lab.power.start(off)
    assert both(lab, off) == [shown(nic)] * 2
    lab.power.cut(off)
    lab.peripherals.unplug(off, nic.alias)
    assert both(lab, off) == [shown(nic)]
    lab.peripherals.forget(off, nic.alias)
    assert both(lab, off) == [set()]


def test_a_transient_guest_takes_an_interface_while_it_runs(lab: PeripheralLab) -> None:
    guest = lab.transient()
    nic = make(lab, guest)
    lab.peripherals.attach(guest, nic)
    assert both(lab, guest) == [shown(nic)]
    lab.peripherals.attach(guest, nic)
    lab.peripherals.forget(guest, nic.alias)
    lab.peripherals.unplug(guest, nic.alias)
    assert both(lab, guest) == [set()]


@pytest.mark.parametrize(
    ("kind", "target"), [(InterfaceKind.BRIDGE, "br-test"), (InterfaceKind.TAP, "tap-test")]
)
def test_every_kind_of_interface_is_kept_as_it_was_asked_for(
    lab: PeripheralLab, off: InstanceId, kind: InterfaceKind, target: str
) -> None:
    nic = make(lab, off, replace(user_mode(), kind=kind, target=target))
    lab.peripherals.attach(off, nic)
    assert both(lab, off) == [shown(nic)]
    lab.peripherals.attach(off, nic)
    elsewhere = replace(user_mode(), kind=kind, target="elsewhere")
    with pytest.raises(HypervisorRefused, match="elsewhere"):
        lab.peripherals.attach(off, replace(nic, what=elsewhere))
    assert both(lab, off) == [shown(nic)]


@pytest.mark.parametrize("device", HOST_DEVICES, ids=str)
def test_a_host_device_is_kept_as_it_was_asked_for_and_goes_by_its_alias(
    lab: PeripheralLab, off: InstanceId, device: HostDevice
) -> None:
    bus = Bus.USB if device.kind is HostDeviceKind.USB else Bus.VIRTIO
    wanted = replace(make(lab, off, device), address=last_place(lab, off, bus))
    lab.peripherals.attach(off, wanted)
    other = make(lab, off)
    lab.peripherals.attach(off, other)
    assert both(lab, off) == [shown(wanted, other)]
    before = lab.guests.describe(off)
    lab.peripherals.attach(off, wanted)
    assert lab.guests.describe(off) == before

    lab.peripherals.forget(off, wanted.alias)
    assert both(lab, off) == [shown(other)]


@pytest.mark.parametrize("device", HOST_DEVICES, ids=str)
def test_a_host_device_is_given_to_a_guest_once(
    lab: PeripheralLab, off: InstanceId, device: Plugged
) -> None:
    first = make(lab, off, device)
    lab.peripherals.attach(off, first)
    with pytest.raises(HypervisorRefused):
        lab.peripherals.attach(off, make(lab, off, device))
    assert both(lab, off) == [shown(first)]


def test_an_alias_that_another_host_device_has_is_refused(
    lab: PeripheralLab, off: InstanceId
) -> None:
    card = make(lab, off, PCI)
    lab.peripherals.attach(off, card)
    for other in (parse_host_device("pci:00fe:04:00.0"), MEDIATED, user_mode()):
        with pytest.raises(HypervisorRefused, match=card.alias):
            lab.peripherals.attach(off, replace(card, what=other))
    assert both(lab, off) == [shown(card)]


def test_a_ghost_in_the_way_is_removed_and_the_guest_doubted(
    lab: PeripheralLab, guest: InstanceId
) -> None:
    nic = make(lab, guest)
    lab.plant_ghost(nic)
    lab.wait_until_seen(guest, MAC)
    assert both(lab, guest) == [set(), set()]
    lab.peripherals.attach(guest, nic)
    assert both(lab, guest) == [shown(nic)] * 2
    assert lab.doubted(guest)
    lab.wait_until_seen(guest, MAC)


def test_an_unplug_takes_the_ghost_out_of_a_guest_in_doubt(
    lab: PeripheralLab, guest: InstanceId
) -> None:
    nic, other = make(lab, guest), make(lab, guest)
    lab.plant_ghost(nic)
    lab.wait_until_seen(guest, MAC)
    lab.doubt(guest)
    lab.peripherals.unplug(guest, other.alias)
    lab.wait_until_seen(guest, MAC)
    lab.peripherals.unplug(guest, nic.alias)
    lab.wait_until_seen(guest)
    lab.peripherals.attach(guest, nic)
    lab.wait_until_seen(guest, MAC)


def test_a_guest_that_keeps_a_ghost_is_busy(lab: PeripheralLab, guest: InstanceId) -> None:
    nic = make(lab, guest)
    lab.plant_ghost(nic)
    lab.wait_until_seen(guest, MAC)
    lab.pause(guest)
    lab.doubt(guest)
    with pytest.raises(GuestBusy):
        lab.hurried.unplug(guest, nic.alias)
    with pytest.raises(GuestBusy):
        lab.hurried.attach(guest, nic)
    lab.resume(guest)
    lab.peripherals.unplug(guest, nic.alias)
    lab.wait_until_seen(guest)


def test_in_a_guest_in_doubt_what_its_hypervisor_has_is_no_ghost(
    lab: PeripheralLab, guest: InstanceId
) -> None:
    nic = make(lab, guest)
    lab.peripherals.attach(guest, nic)
    lab.doubt(guest)
    lab.peripherals.attach(guest, nic)
    assert both(lab, guest) == [shown(nic)] * 2
    lab.wait_until_seen(guest, MAC)
    lab.peripherals.unplug(guest, nic.alias)
    assert both(lab, guest) == [set(), shown(nic)]


@only_libvirt
def test_what_libvirt_has_is_not_laid_as_a_ghost(lab: LibvirtLab, guest: InstanceId) -> None:
    """An attach that was under way may have ended since its twin was refused."""
    nic = make(lab, guest)
    lab.peripherals.attach(guest, nic)
    lab.wait_until_seen(guest, MAC)
    with lab.connection.domain(guest) as domain:
        assert not lay_ghost(domain, nic.alias, 5)
        inside = ask(domain, "qom-list", {"path": "/machine/peripheral"})
    assert nic.alias in [child["name"] for child in inside]


@only_libvirt
def test_half_a_ghost_goes_too(lab: LibvirtLab, guest: InstanceId) -> None:
    nic = make(lab, guest)
    with lab.connection.domain(guest) as domain:
        ask(domain, "netdev_add", {"type": "user", "id": f"host{nic.alias}"})
    lab.peripherals.attach(guest, nic)
    lab.wait_until_seen(guest, MAC)


@only_libvirt
@pytest.mark.parametrize("device", [PCI, MEDIATED], ids=str)
def test_a_host_device_that_the_host_lacks_is_refused_and_nothing_changes(
    lab: LibvirtLab, guest: InstanceId, device: Plugged
) -> None:
    wanted = make(lab, guest, device)
    with pytest.raises(HypervisorRefused):
        lab.peripherals.attach(guest, wanted)
    assert both(lab, guest) == [set(), set()]


@only_libvirt
def test_libvirts_schema_knows_every_element(lab: LibvirtLab, off: InstanceId) -> None:
    whats: list[Plugged] = [
        user_mode(),
        replace(user_mode(), kind=InterfaceKind.BRIDGE, target="br-test"),
        replace(user_mode(), kind=InterfaceKind.TAP, target="tap-test"),
        *HOST_DEVICES,
    ]
    for what in whats:
        wanted = make(lab, off, what)
        with lab.connection.domain(off) as domain:
            tree = etree.fromstring(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
            devices = tree.find("devices")
            assert devices is not None
            devices.append(etree.fromstring(peripheral_element(wanted)))
            text = etree.tostring(tree, encoding="unicode")
            domain.connect().defineXMLFlags(text, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
        assert shown_peripheral(wanted) in persistent(lab, off)


@only_libvirt
def test_the_word_that_an_interface_has_gone_names_its_alias(
    lab: LibvirtLab, guest: InstanceId
) -> None:
    ear = Ear()
    lab.connection.subscribe(ear.events.put)
    own = lab.give_foreign(guest)
    nic = make(lab, guest)
    lab.peripherals.attach(guest, nic)
    for alias in (nic.alias, own):
        lab.peripherals.unplug(guest, alias)
        ear.until(DeviceRemoved(instance=guest, alias=alias))


TUNSETIFF, TUNSETPERSIST = 0x400454CA, 0x400454CB
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
SIOCBRADDBR, SIOCBRDELBR = 0x89A0, 0x89A1


def set_tap(name: str, *, stays: bool) -> None:
    with Path("/dev/net/tun").open("rb+", buffering=0) as opened:
        fcntl.ioctl(opened, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))
        fcntl.ioctl(opened, TUNSETPERSIST, int(stays))


def set_bridge(name: str, *, stays: bool) -> None:
    with socket.socket() as opened:
        fcntl.ioctl(opened, SIOCBRADDBR if stays else SIOCBRDELBR, name.encode() + b"\0")


@contextmanager
def joined_to(kind: InterfaceKind, name: str) -> Iterator[Path]:
    """A TAP device or a bridge of this host."""
    require(os.geteuid() == 0 and Path("/dev/net/tun").exists(), "root and /dev/net/tun")
    make = set_tap if kind is InterfaceKind.TAP else set_bridge
    make(name, stays=True)
    try:
        yield Path("/sys/class/net", name)
    finally:
        make(name, stays=False)


@only_libvirt
@pytest.mark.parametrize("kind", [InterfaceKind.TAP, InterfaceKind.BRIDGE])
def test_what_the_host_has_is_used_and_stays(
    lab: LibvirtLab, guest: InstanceId, kind: InterfaceKind
) -> None:
    name = f"bw{new_uuid()[:8]}"
    nic = make(lab, guest, replace(user_mode(), kind=kind, target=name))
    with joined_to(kind, name) as found:
        lab.peripherals.attach(guest, nic)
        lab.peripherals.attach(guest, nic)
        assert both(lab, guest) == [shown(nic)] * 2
        lab.wait_until_seen(guest, MAC)
        lab.peripherals.unplug(guest, nic.alias)
        lab.peripherals.forget(guest, nic.alias)
        assert found.exists()
    assert not found.exists()
    with pytest.raises(HypervisorRefused):
        lab.peripherals.attach(guest, nic)
    assert both(lab, guest) == [set(), set()]
