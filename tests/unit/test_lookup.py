"""The look-up: by alias, else by two facts that agree; a doubt is refused, and names both."""

from dataclasses import replace

import pytest

from worker.errors import DeviceAmbiguous, RequestMalformed
from worker.model.block_device import BlockDevice, Bus, DeviceType
from worker.model.guest import (
    Guest,
    GuestDevice,
    GuestDisk,
    GuestHostDevice,
    GuestInterface,
    Layout,
)
from worker.model.host_device import HostDevice, HostDeviceKind, parse_host_device
from worker.model.identity.alias import alias_of, is_kept
from worker.model.identity.lookup import (
    Doubt,
    Found,
    Why,
    disk_by_alias,
    find,
    find_by_alias,
    find_live,
    look_up,
    may_have,
)
from worker.model.identity.sought import sought_disk, sought_peripheral
from worker.model.ids import BlockDeviceId, InstanceId, PeripheralId, PortId, VolumeId
from worker.model.instance import VmState
from worker.model.peripheral import Peripheral
from worker.model.places.address import PciAddress
from worker.model.specification import Interface, InterfaceKind

INSTANCE = InstanceId("0c6b3b1e-0000-4000-8000-000000000001")
PLACE = PciAddress(bus=3, slot=0)
ELSEWHERE = PciAddress(bus=4, slot=0)
SOURCE = "/dev/volumes/one"
ROW = BlockDevice(
    uuid=BlockDeviceId("0c6b3b1e-0000-4000-8000-00000000000a"),
    instance=INSTANCE,
    volume=VolumeId("0c6b3b1e-0000-4000-8000-00000000000b"),
    device_name="/dev/vdb",
    bus=Bus.VIRTIO,
    alias="ua-0c6b3b1e-0000-4000-8000-00000000000b",
    serial="0c6b3b1e-0000-4000-8000-00000000000b",
    address=PLACE,
)
DISK = GuestDisk(
    target="vdb",
    bus="virtio",
    alias="virtio-disk1",
    serial=ROW.serial,
    source=SOURCE,
    address=PLACE,
)
OTHER = replace(DISK, target="vdc", alias="virtio-disk2", serial=None, source="/x", address=None)
INTERFACE = Peripheral(
    uuid=PeripheralId("0c6b3b1e-0000-4000-8000-00000000000c"),
    instance=INSTANCE,
    what=Interface(port=PortId("port-1"), kind=InterfaceKind.USER, mac="52:54:00:00:00:01"),
    alias="ua-port-1",
    address=PLACE,
)
STICK = HostDevice(kind=HostDeviceKind.USB, name="046d:c52b")


def layout(*devices: GuestDevice) -> Layout:
    """Return a layout of these devices."""
    return Layout(
        disks=tuple(one for one in devices if isinstance(one, GuestDisk)),
        interfaces=tuple(one for one in devices if isinstance(one, GuestInterface)),
        host_devices=tuple(one for one in devices if isinstance(one, GuestHostDevice)),
        taken=frozenset(),
        places={},
    )


def guest(*, live: Layout | None, persistent: Layout | None) -> Guest:
    """Return a guest of these layouts."""
    return Guest(
        instance=INSTANCE, name="g", vm_state=VmState.ACTIVE, live=live, persistent=persistent
    )


def in_disks(*disks: GuestDisk, source: str | None = SOURCE) -> Found | None:
    """Look for the row's disk among these."""
    return find(layout(*disks), sought_disk(ROW, source))


def test_the_alias_goes_before_every_other_fact() -> None:
    ours = replace(DISK, alias=ROW.alias, serial=None, source="/moved")
    twin = replace(DISK, address=ELSEWHERE, target="vdd")
    assert in_disks(twin, OTHER, ours) == Found(device=ours, by_alias=True)


@pytest.mark.parametrize("change", [{"target": "vdd"}, {"address": ELSEWHERE}])
def test_what_bears_the_alias_in_another_place_is_not_ours(change: dict[str, object]) -> None:
    with pytest.raises(DeviceAmbiguous, match=ROW.alias):
        in_disks(replace(DISK, alias=ROW.alias, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"alias": None},
        {"alias": "anothers"},
        {"address": None},
        {"serial": None},
        {"target": "", "address": None},
    ],
)
def test_two_facts_that_agree_find_a_disk_without_the_alias(change: dict[str, object]) -> None:
    disk = replace(DISK, **change)  # type: ignore[arg-type]
    assert in_disks(OTHER, disk) == Found(device=disk, by_alias=False)


@pytest.mark.parametrize(
    "change",
    [
        {"source": "/x", "serial": None},
        {"serial": None, "target": "vdd", "address": None},
    ],
)
def test_a_lone_fact_finds_nothing(change: dict[str, object]) -> None:
    assert in_disks(replace(DISK, **change)) is None  # type: ignore[arg-type]


def test_what_bears_the_alias_of_another_row_is_never_found_by_facts() -> None:
    newer = replace(DISK, alias="ua-newer")
    assert in_disks(newer) is None
    former = replace(sought_disk(ROW, SOURCE), former="ua-newer")
    assert find(layout(newer), former) == Found(device=newer, by_alias=False)


@pytest.mark.parametrize(("shown", "known"), [(SOURCE, None), (None, SOURCE), (None, None)])
def test_a_lone_name_finds_nothing_and_denies_nothing(shown: str | None, known: str | None) -> None:
    """Nothing says whose disk is in the row's place: it must not be called gone."""
    with pytest.raises(DeviceAmbiguous, match="disk vdb"):
        in_disks(replace(DISK, serial=None, source=shown), source=known)


@pytest.mark.parametrize(
    ("change", "known", "why"),
    [
        ({"serial": None}, None, Why.FEW),
        ({"serial": None, "source": None}, SOURCE, Why.FACTS),
        ({"target": "vdd", "address": None}, None, Why.FACTS),
        ({"alias": ROW.alias, "target": "vdd"}, SOURCE, Why.ELSEWHERE),
    ],
)
def test_a_doubt_says_what_it_is_about(
    change: dict[str, object], known: str | None, why: Why
) -> None:
    disk = replace(DISK, **change)  # type: ignore[arg-type]
    found = look_up(layout(OTHER, disk), sought_disk(ROW, known))
    assert isinstance(found, Doubt)
    assert (found.why, found.devices) == (why, (disk,))


def test_what_only_the_next_start_has_there_is_a_doubt() -> None:
    kept = layout(replace(DISK, alias=ROW.alias, source="/x"))
    live = layout(replace(DISK, source="/x", serial=None))
    with pytest.raises(DeviceAmbiguous, match="next start"):
        find_live(guest(live=live, persistent=kept), sought_disk(ROW, SOURCE))


def test_a_disk_without_a_serial_is_not_looked_for_by_one() -> None:
    floppy = replace(ROW, device_type=DeviceType.FLOPPY)
    assert "serial" not in sought_disk(floppy).facts


def test_only_what_shares_a_fact_could_be_it() -> None:
    assert may_have(layout(OTHER, DISK), sought_disk(ROW))
    assert not may_have(layout(OTHER, replace(DISK, alias="ua-newer")), sought_disk(ROW))
    assert not may_have(None, sought_disk(ROW))


def test_every_alias_of_a_guest_is_known() -> None:
    card = GuestInterface(mac="", alias="ua-port-1", address=None)
    bare = replace(DISK, alias=None)
    found = guest(live=layout(DISK, bare), persistent=layout(card))
    assert found.aliases == {"virtio-disk1", "ua-port-1"}


@pytest.mark.parametrize(
    "change",
    [{"source": "/x"}, {"target": "vdd"}, {"address": ELSEWHERE}, {"serial": "another"}],
)
def test_facts_that_contradict_one_another_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(DeviceAmbiguous):
        in_disks(replace(DISK, **change))  # type: ignore[arg-type]


def test_two_candidates_are_refused_and_both_are_named() -> None:
    second = replace(DISK, target="vdd", alias="virtio-disk7", address=None)
    with pytest.raises(DeviceAmbiguous, match=r"virtio-disk1.*virtio-disk7"):
        in_disks(DISK, second)


def test_a_running_disk_is_found_by_what_its_next_start_says_of_it() -> None:
    kept = layout(replace(DISK, alias=ROW.alias))
    found = find_live(guest(live=layout(DISK, OTHER), persistent=kept), sought_disk(ROW))
    assert found == Found(device=DISK, by_alias=False)
    assert find_live(guest(live=None, persistent=kept), sought_disk(ROW)) is None


def test_the_row_decides_the_place_whatever_both_layouts_say() -> None:
    moved = layout(replace(DISK, alias=ROW.alias, target="vdc", address=ELSEWHERE))
    with pytest.raises(DeviceAmbiguous):
        find_live(guest(live=moved, persistent=moved), sought_disk(ROW))


def test_a_transient_guest_is_looked_through_alike() -> None:
    found = find_live(guest(live=layout(DISK), persistent=None), sought_disk(ROW, SOURCE))
    assert found == Found(device=DISK, by_alias=False)


def test_libvirt_keeps_aliases_of_one_form_only() -> None:
    assert is_kept(alias_of("0c6b3b1e_A-9"))
    assert not is_kept("ua-")
    assert not is_kept("virtio-disk0")
    assert not is_kept(alias_of("a.b"))


def test_a_row_in_no_place_is_found_by_its_alias() -> None:
    bare = replace(ROW, address=None)
    found = find(layout(replace(DISK, alias=ROW.alias)), sought_disk(bare))
    assert found is not None
    assert found.by_alias


def test_of_two_interfaces_with_one_mac_the_address_tells_which() -> None:
    ours = GuestInterface(mac="52:54:00:00:00:01", alias="net0", address=PLACE)
    twin = replace(ours, alias="net1", address=ELSEWHERE)
    found = find(layout(twin, ours), sought_peripheral(INTERFACE))
    assert found == Found(device=ours, by_alias=False)
    other = replace(INTERFACE, uuid=PeripheralId(ROW.uuid), alias="ua-port-2", address=ELSEWHERE)
    assert find(layout(twin), sought_peripheral(INTERFACE, [INTERFACE, other])) is None


def test_an_interface_that_has_the_mac_elsewhere_is_not_called_gone() -> None:
    """One that was plugged in live and kept has an address of its own in each layout."""
    kept = GuestInterface(mac="52:54:00:00:00:01", alias=INTERFACE.alias, address=PLACE)
    live = replace(kept, alias="net1", address=ELSEWHERE)
    card = replace(live, mac="52:54:00:00:00:02")
    stick = replace(INTERFACE, what=STICK, address=ELSEWHERE)
    rows = [INTERFACE, replace(stick, uuid=PeripheralId(ROW.uuid))]
    with pytest.raises(DeviceAmbiguous, match="net1"):
        find_live(
            guest(live=layout(live), persistent=layout(kept)), sought_peripheral(INTERFACE, rows)
        )
    assert find(layout(card), sought_peripheral(INTERFACE, rows)) is None
    assert find(layout(replace(live, alias="ua-other")), sought_peripheral(INTERFACE)) is None


def test_a_host_device_is_found_by_what_it_is_and_where() -> None:
    row = replace(INTERFACE, what=STICK, alias="ua-stick")
    ours = GuestHostDevice(source=STICK, alias="hostdev0", address=PLACE)
    assert find(layout(ours), sought_peripheral(row)) == Found(device=ours, by_alias=False)
    with pytest.raises(DeviceAmbiguous):
        find(layout(replace(ours, address=ELSEWHERE)), sought_peripheral(row))
    unknown = replace(ours, source=None, address=ELSEWHERE)
    assert find(layout(unknown), sought_peripheral(replace(row, address=None))) is None


def test_an_alias_is_found_whatever_bears_it() -> None:
    card = GuestInterface(mac="", alias="ua-port-1", address=None)
    assert find_by_alias(layout(DISK, card), "ua-port-1") == card
    assert find_by_alias(None, "ua-port-1") is None
    assert disk_by_alias(layout(DISK, card), "ua-port-1") is None
    assert disk_by_alias(layout(DISK, card), "virtio-disk1") == DISK


def test_every_device_says_which_it_is() -> None:
    card = GuestInterface(mac="52:54:00:00:00:01", alias=None, address=PLACE)
    stick = GuestHostDevice(source=STICK, alias="hostdev0", address=PLACE)
    assert str(DISK) == f"disk vdb (virtio-disk1) of {SOURCE}"
    assert str(card) == f"interface 52:54:00:00:00:01 (no alias) at {PLACE}"
    assert str(stick) == f"host device usb:046d:c52b (hostdev0) at {PLACE}"


@pytest.mark.parametrize(
    "text",
    [
        "pci:0000:03:00.0",
        "pci:10000:e1:00.0",
        "pci:ffffffff:e1:00.0",
        "usb:046d:c52b",
        "usb:1.4",
        f"mdev:{INSTANCE}",
    ],
)
def test_a_host_device_is_written_as_it_was_read(text: str) -> None:
    assert str(parse_host_device(text)) == text


def test_a_pci_device_has_one_name_however_long_its_domain_is_written() -> None:
    assert parse_host_device("pci:00000000:03:00.0") == parse_host_device("pci:0000:03:00.0")


@pytest.mark.parametrize(
    "text",
    ["", "pci", "pci:03:00.0", "pci:100000000:03:00.0", "usb:046D:C52B", "usb:0.4", "scsi:1"],
)
def test_what_names_no_host_device_is_refused(text: str) -> None:
    with pytest.raises(RequestMalformed, match="names no host device"):
        parse_host_device(text)


def test_a_peripheral_tells_what_it_is() -> None:
    stick = replace(INTERFACE, what=STICK, address=None)
    assert INTERFACE.public()["mac_address"] == "52:54:00:00:00:01"
    assert stick.public()["host_device"] == "usb:046d:c52b"
    assert stick.public()["address"] is None
