"""The XML of interfaces and host devices, and how an attach takes libvirt's answers to it."""

from collections.abc import Sequence
from dataclasses import replace

import libvirt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from tests.fakes.peripherals import shown_peripheral
from tests.unit.test_unplug import INSTANCE, StubConnection, libvirt_error
from worker.errors import HypervisorRefused, HypervisorUnavailable
from worker.model.host_device import HostDevice, HostDeviceKind, parse_host_device
from worker.model.ids import PeripheralId, PortId
from worker.model.peripheral import Peripheral, Plugged
from worker.model.places.address import PciAddress, UsbAddress
from worker.model.specification import Interface, InterfaceKind
from worker.virt.peripherals import LibvirtGuestPeripherals, peripheral_element
from worker.virt.xml.layout import read_layout

UUID = "11111111-2222-3333-4444-555555555555"
NIC = Interface(port=PortId("p"), kind=InterfaceKind.USER, mac="52:54:00:00:00:01")
PLACE = "<address type='pci' domain='0x0000' bus='0x05' slot='0x00' function='0x0'/>"
PORT = "<address type='usb' bus='0' port='2'/>"
NAMED = "<alias name='ua-x'/>"
MODEL = "<model type='virtio'/><rom enabled='no'/>"
MAC = "<mac address='52:54:00:00:00:01'/>"


def peripheral(what: Plugged) -> Peripheral:
    usb = isinstance(what, HostDevice) and what.kind is HostDeviceKind.USB
    return Peripheral(
        uuid=PeripheralId("x"),
        instance=INSTANCE,
        what=what,
        alias="ua-x",
        address=UsbAddress(port=2) if usb else PciAddress(bus=5, slot=0),
    )


def canonical(xml: str) -> str:
    return str(etree.canonicalize(xml, strip_text=True))


@pytest.mark.parametrize(
    ("what", "xml"),
    [
        pytest.param(NIC, f"<interface type='user'>{MAC}{MODEL}{NAMED}{PLACE}</interface>"),
        pytest.param(
            replace(NIC, kind=InterfaceKind.BRIDGE, target="br0"),
            f"<interface type='bridge'>{MAC}<source bridge='br0'/>{MODEL}{NAMED}{PLACE}"
            "</interface>",
        ),
        pytest.param(
            replace(NIC, kind=InterfaceKind.TAP, target="tap0"),
            f"<interface type='ethernet'>{MAC}<target dev='tap0' managed='no'/>{MODEL}{NAMED}"
            f"{PLACE}</interface>",
        ),
        pytest.param(
            parse_host_device("pci:0001:83:1f.7"),
            "<hostdev mode='subsystem' type='pci' managed='yes'><source>"
            "<address domain='0x0001' bus='0x83' slot='0x1f' function='0x7'/></source>"
            f"{NAMED}{PLACE}</hostdev>",
        ),
        pytest.param(
            parse_host_device("usb:046d:c52b"),
            "<hostdev mode='subsystem' type='usb'><source><vendor id='0x046d'/>"
            f"<product id='0xc52b'/></source>{NAMED}{PORT}</hostdev>",
        ),
        pytest.param(
            parse_host_device("usb:1.14"),
            "<hostdev mode='subsystem' type='usb'><source><address bus='1' device='14'/></source>"
            f"{NAMED}{PORT}</hostdev>",
        ),
        pytest.param(
            parse_host_device(f"mdev:{UUID}"),
            "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source>"
            f"<address uuid='{UUID}'/></source>{NAMED}{PLACE}</hostdev>",
        ),
    ],
)
def test_the_element_of_each_kind(what: Plugged, xml: str) -> None:
    assert canonical(peripheral_element(peripheral(what))) == canonical(xml)


def test_without_an_address_libvirt_chooses() -> None:
    assert "<address" not in peripheral_element(replace(peripheral(NIC), address=None))


def test_what_xml_cannot_hold_is_refused() -> None:
    odd = replace(NIC, kind=InterfaceKind.BRIDGE, target="br\x07")
    with pytest.raises(HypervisorRefused, match="cannot be written"):
        peripheral_element(peripheral(odd))


def hexadecimal(width: int) -> st.SearchStrategy[str]:
    return st.integers(0, 16**width - 1).map(lambda number: f"{number:0{width}x}")


NAMES = {
    HostDeviceKind.PCI: st.builds(
        "{}:{}:{}.{}".format,
        hexadecimal(4),
        hexadecimal(2),
        hexadecimal(2),
        st.integers(0, 7),
    ),
    HostDeviceKind.USB: st.one_of(
        st.builds("{}:{}".format, hexadecimal(4), hexadecimal(4)),
        st.builds("{}.{}".format, st.integers(1, 255), st.integers(1, 127)),
    ),
    HostDeviceKind.MEDIATED: st.uuids().map(str),
}


@given(st.sampled_from(HostDeviceKind).flatmap(lambda kind: st.tuples(st.just(kind), NAMES[kind])))
def test_every_host_device_is_read_as_it_was_written(drawn: tuple[HostDeviceKind, str]) -> None:
    kind, name = drawn
    device = parse_host_device(f"{kind}:{name}")
    wanted = peripheral(device)
    xml = f"<domain><devices>{peripheral_element(wanted)}</devices></domain>"
    assert read_layout(xml).host_devices == (shown_peripheral(wanted),)


class StubDomain:
    """A transient domain; what it shows, answer by answer, and what an attach does."""

    def __init__(self, shows: Sequence[str], refusal: Exception | None) -> None:
        self.shows = iter(shows)
        self.refusal = refusal
        self.asked: list[int] = []

    def isActive(self) -> bool:  # noqa: N802 - libvirt's name
        return True

    def isPersistent(self) -> bool:  # noqa: N802
        return False

    def XMLDesc(self, _flags: int) -> str:  # noqa: N802
        return f"<domain><devices>{next(self.shows)}</devices></domain>"

    def attachDeviceFlags(self, _xml: str, flags: int) -> None:  # noqa: N802
        self.asked.append(flags)
        if self.refusal is not None:
            raise self.refusal


class OneDomain(StubConnection):
    def __init__(self, domain: StubDomain) -> None:
        super().__init__()
        self.one = domain

    def lookupByUUIDString(self, _uuid: str) -> StubDomain:  # type: ignore[override] # noqa: N802
        return self.one


def attach(*shows: str, refusal: Exception | None = None) -> StubDomain:
    domain = StubDomain(shows, refusal)
    LibvirtGuestPeripherals(OneDomain(domain)).attach(INSTANCE, peripheral(NIC))
    return domain


THERE = peripheral_element(peripheral(NIC))
TWICE = libvirt.VIR_ERR_CONFIG_UNSUPPORTED, "non unique alias detected: ua-x"


def test_what_is_there_is_not_asked_for() -> None:
    assert attach(THERE).asked == []


def test_an_attach_that_came_first_is_not_refused() -> None:
    """A worker that died in it had asked, and libvirt was not done."""
    domain = attach("", THERE, refusal=libvirt_error(*TWICE))
    assert domain.asked == [libvirt.VIR_DOMAIN_AFFECT_LIVE]


def test_a_refusal_is_told_in_libvirts_words() -> None:
    with pytest.raises(HypervisorRefused, match="non unique"):
        attach("", "", refusal=libvirt_error(*TWICE))


def test_what_libvirt_took_and_does_not_show_is_refused() -> None:
    with pytest.raises(HypervisorRefused, match="does not show"):
        attach("", "")


def test_what_came_first_and_is_another_is_refused() -> None:
    other = THERE.replace("52:54:00:00:00:01", "52:54:00:00:00:02")
    with pytest.raises(HypervisorRefused, match="52:54:00:00:00:02, not 52:54:00:00:00:01"):
        attach("", other, refusal=libvirt_error(*TWICE))


def test_a_libvirt_that_has_gone_is_away() -> None:
    lost = libvirt_error(libvirt.VIR_ERR_SYSTEM_ERROR, "broken pipe", libvirt.VIR_FROM_RPC)
    with pytest.raises(HypervisorUnavailable):
        attach("", refusal=lost)
