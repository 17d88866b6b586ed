"""Where a new disk goes: free in our rows, in the running guest and after its next start."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.world import PLACES
from tests.unit.scenes import DEVICE, INSTANCE, VOLUME
from worker.errors import BusUnsupported, DeviceNameTaken, NoFreePort, TooManyDevices
from worker.model.block_device import BlockDevice, Bus
from worker.model.guest import Guest, GuestDisk, Layout
from worker.model.host_device import HostDevice, parse_host_device
from worker.model.ids import BlockDeviceId, PeripheralId, PortId
from worker.model.instance import VmState
from worker.model.peripheral import Peripheral, Plugged
from worker.model.places.address import Address, DriveAddress, PciAddress, UsbAddress, place_of
from worker.model.places.names import PREFIXES, letters
from worker.model.places.placement import HOT_PLUGGED, place, place_peripheral
from worker.model.specification import Interface, InterfaceKind

NO_LIMIT = -1
FIRST, SECOND, THIRD = PLACES[Bus.VIRTIO][:3]


def disk(target: str, bus: str = "virtio", address: Address | None = None) -> GuestDisk:
    return GuestDisk(target=target, bus=bus, alias=None, serial=None, source=None, address=address)


def layout(
    *disks: GuestDisk,
    taken: frozenset[Address] = frozenset(),
    places: Mapping[Bus, tuple[Address, ...]] = PLACES,
) -> Layout:
    held = {shown.address for shown in disks if shown.address is not None}
    return Layout(disks=disks, taken=taken | held, places=places)


def guest(live: Layout | None, persistent: Layout | None) -> Guest:
    state = VmState.STOPPED if live is None else VmState.ACTIVE
    return Guest(
        instance=INSTANCE, name="guest-1", vm_state=state, live=live, persistent=persistent
    )


def row(
    name: str = "/dev/vda", address: Address | None = FIRST, bus: Bus = Bus.VIRTIO
) -> BlockDevice:
    return BlockDevice(
        uuid=DEVICE,
        instance=INSTANCE,
        volume=VOLUME,
        device_name=name,
        bus=bus,
        alias="ua-x",
        serial=None,
        address=address,
    )


EMPTY = layout()


def test_the_first_disk_gets_the_first_name_and_place() -> None:
    spot = place(guest(EMPTY, EMPTY), [], Bus.VIRTIO, None, NO_LIMIT)

    assert (spot.device_name, spot.address, spot.unit) == ("/dev/vda", FIRST, None)


def test_rows_count_though_no_layout_shows_them() -> None:
    spot = place(guest(EMPTY, EMPTY), [row()], Bus.VIRTIO, None, NO_LIMIT)

    assert (spot.device_name, spot.address) == ("/dev/vdb", SECOND)


def test_a_row_without_an_address_takes_a_name_alone() -> None:
    spot = place(guest(EMPTY, EMPTY), [row(address=None)], Bus.VIRTIO, None, NO_LIMIT)

    assert (spot.device_name, spot.address) == ("/dev/vdb", FIRST)


@pytest.mark.parametrize("where", ["live", "persistent"])
def test_a_disk_seen_in_one_layout_only_is_in_the_way(where: str) -> None:
    shown = layout(disk("vda", address=FIRST))
    seen = guest(shown, EMPTY) if where == "live" else guest(EMPTY, shown)

    spot = place(seen, [], Bus.VIRTIO, None, NO_LIMIT)

    assert (spot.device_name, spot.address) == ("/dev/vdb", SECOND)


def test_a_name_seen_only_in_the_persistent_layout_is_taken() -> None:
    seen = guest(EMPTY, layout(disk("vdb")))

    with pytest.raises(DeviceNameTaken):
        place(seen, [], Bus.VIRTIO, "/dev/vdb", NO_LIMIT)


def test_the_address_is_free_in_the_live_and_in_the_persistent_layout() -> None:
    live = layout(taken=frozenset({FIRST}))
    persistent = layout(taken=frozenset({SECOND}))

    assert place(guest(live, persistent), [], Bus.VIRTIO, None, NO_LIMIT).address == THIRD


def test_a_device_that_is_no_disk_holds_its_whole_slot() -> None:
    held = layout(taken=frozenset({PciAddress(bus=1, slot=0, function=3)}))

    assert place(guest(held, held), [], Bus.VIRTIO, None, NO_LIMIT).address == SECOND


def test_a_place_that_only_one_layout_offers_is_none() -> None:
    fewer = layout(places={**PLACES, Bus.VIRTIO: PLACES[Bus.VIRTIO][1:]})

    assert place(guest(EMPTY, fewer), [], Bus.VIRTIO, None, NO_LIMIT).address == SECOND


@pytest.mark.parametrize(("live", "persistent"), [(None, EMPTY), (EMPTY, None)])
def test_one_layout_is_enough(live: Layout | None, persistent: Layout | None) -> None:
    assert place(guest(live, persistent), [], Bus.VIRTIO, None, NO_LIMIT).address == FIRST


def test_a_scsi_disk_has_a_unit() -> None:
    spot = place(guest(EMPTY, EMPTY), [], Bus.SCSI, None, NO_LIMIT)

    assert (spot.device_name, spot.unit) == ("/dev/sda", 0)
    assert spot.address == DriveAddress(kind="scsi", unit=0)


def test_another_bus_has_no_unit() -> None:
    spot = place(guest(EMPTY, EMPTY), [], Bus.USB, None, NO_LIMIT)

    assert (spot.address, spot.unit) == (UsbAddress(port=1), None)


@pytest.mark.parametrize("lacking", ["live", "persistent"])
def test_a_bus_without_a_controller_in_either_layout_is_unsupported(lacking: str) -> None:
    without = layout(places={Bus.VIRTIO: PLACES[Bus.VIRTIO]})
    seen = guest(without, EMPTY) if lacking == "live" else guest(EMPTY, without)

    with pytest.raises(BusUnsupported, match="no controller for bus scsi"):
        place(seen, [], Bus.SCSI, None, NO_LIMIT)


SATA = layout(places={Bus.SATA: (DriveAddress(kind="sata", unit=0),)})


def test_a_running_guest_takes_no_sata_disk() -> None:
    with pytest.raises(BusUnsupported, match="stop it first"):
        place(guest(SATA, SATA), [], Bus.SATA, None, NO_LIMIT)


def test_a_stopped_guest_takes_a_sata_disk() -> None:
    spot = place(guest(None, SATA), [], Bus.SATA, None, NO_LIMIT)

    assert (spot.device_name, spot.unit) == ("/dev/sda", None)


def test_a_guest_that_is_full_has_no_free_port() -> None:
    full = layout(taken=frozenset(PLACES[Bus.VIRTIO]))

    with pytest.raises(NoFreePort, match="bus virtio"):
        place(guest(full, full), [], Bus.VIRTIO, None, NO_LIMIT)


def test_max_disk_devices_counts_a_disk_once_however_often_it_is_seen() -> None:
    seen = layout(disk("vda"), disk("sda", "scsi"))
    known = guest(seen, seen)

    place(known, [row()], Bus.VIRTIO, None, 3)
    with pytest.raises(TooManyDevices):
        place(known, [row()], Bus.VIRTIO, None, 2)


def test_the_limit_of_a_bus_counts_disks_that_are_not_ours() -> None:
    shown = [disk(f"sd{letters(index)}", "sata") for index in range(6)]
    seen = layout(*shown, places=SATA.places)

    with pytest.raises(TooManyDevices, match="bus sata"):
        place(guest(None, seen), [], Bus.SATA, None, NO_LIMIT)


BUSES = st.sampled_from(sorted(HOT_PLUGGED))
SPOTS = st.tuples(BUSES, st.integers(0, 8), st.integers(0, 7))


def spot_of(bus: Bus, index: int, place_number: int) -> tuple[str, Address]:
    places = PLACES[bus]
    return PREFIXES[bus] + letters(index), places[place_number % len(places)]


def layouts() -> st.SearchStrategy[Layout]:
    disks = st.lists(SPOTS, max_size=6)
    return disks.map(
        lambda found: layout(
            *(disk(spot_of(*spot)[0], spot[0], spot_of(*spot)[1]) for spot in found)
        )
    )


def rows() -> st.SearchStrategy[list[BlockDevice]]:
    return st.lists(SPOTS, max_size=6).map(
        lambda found: [
            replace(
                row(f"/dev/{spot_of(*spot)[0]}", spot_of(*spot)[1], spot[0]),
                uuid=BlockDeviceId(str(number)),
            )
            for number, spot in enumerate(found)
        ]
    )


@given(st.none() | layouts(), layouts(), rows(), BUSES)
def test_a_placement_never_collides_with_anything(
    live: Layout | None, persistent: Layout, known: list[BlockDevice], bus: Bus
) -> None:
    seen = guest(live, persistent)
    try:
        spot = place(seen, known, bus, None, NO_LIMIT)
    except NoFreePort:
        return
    names = {shown.target for each in seen.layouts for shown in each.disks}
    held = {at for each in seen.layouts for at in each.taken}
    held |= {each.address for each in known if each.address is not None}
    assert spot.device_name.removeprefix("/dev/") not in names | {each.target for each in known}
    assert not any((place_of(spot.address) == place_of(at)) for at in held)
    assert all(spot.address in each.places[bus] for each in seen.layouts)


NIC = Interface(port=PortId("p"), kind=InterfaceKind.USER, mac="52:54:00:00:00:01")
CARD, STICK, MEDIATED = (
    parse_host_device(text)
    for text in (
        "pci:0000:03:00.0",
        "usb:046d:c52b",
        "mdev:11111111-2222-3333-4444-555555555555",
    )
)
PORT = UsbAddress(port=1)


def peripheral(what: Plugged = NIC, address: Address | None = FIRST) -> Peripheral:
    return Peripheral(
        uuid=PeripheralId("p"), instance=INSTANCE, what=what, alias="ua-p", address=address
    )


@pytest.mark.parametrize(
    ("what", "address"), [(NIC, FIRST), (CARD, FIRST), (MEDIATED, FIRST), (STICK, PORT)]
)
def test_a_peripheral_gets_the_first_place_of_its_kind(what: Plugged, address: Address) -> None:
    assert place_peripheral(guest(EMPTY, EMPTY), [], [], what) == address


def test_the_place_of_a_peripheral_is_in_no_row() -> None:
    rows, peripherals = [row(address=FIRST)], [peripheral(address=SECOND), peripheral(address=None)]

    assert place_peripheral(guest(EMPTY, EMPTY), rows, peripherals, NIC) == THIRD


def test_a_usb_disk_and_a_usb_device_have_ports_of_their_own() -> None:
    rows = [row("/dev/sda", PORT, Bus.USB)]

    assert place_peripheral(guest(EMPTY, EMPTY), rows, [], STICK) == UsbAddress(port=2)


def test_a_disk_gets_no_place_that_a_peripheral_has_only_in_its_row() -> None:
    seen = guest(EMPTY, EMPTY)

    spot = place(seen, [], Bus.VIRTIO, None, NO_LIMIT, peripherals=[peripheral()])

    assert (spot.device_name, spot.address) == ("/dev/vda", SECOND)


def test_the_place_of_a_peripheral_is_free_in_the_live_and_in_the_persistent_layout() -> None:
    seen = guest(layout(taken=frozenset({FIRST})), layout(taken=frozenset({SECOND})))

    assert place_peripheral(seen, [], [], NIC) == THIRD


@pytest.mark.parametrize(
    ("what", "said"),
    [(NIC, "an interface$"), (CARD, "pci"), (MEDIATED, "mdev"), (STICK, "usb")],
)
def test_a_guest_that_is_full_takes_no_peripheral(what: Plugged, said: str) -> None:
    full = layout(taken=frozenset([*PLACES[Bus.VIRTIO], *PLACES[Bus.USB]]))

    with pytest.raises(NoFreePort, match=said):
        place_peripheral(guest(None, full), [], [], what)


@pytest.mark.parametrize("lacking", ["live", "persistent"])
def test_a_guest_without_usb_in_either_layout_takes_no_usb_device(lacking: str) -> None:
    without = layout(places={Bus.VIRTIO: PLACES[Bus.VIRTIO]})
    seen = guest(without, EMPTY) if lacking == "live" else guest(EMPTY, without)

    with pytest.raises(BusUnsupported, match="no controller for bus usb"):
        place_peripheral(seen, [], [], STICK)


@given(st.none() | layouts(), layouts(), rows(), st.sampled_from([NIC, CARD, STICK]))
def test_the_place_of_a_peripheral_never_collides_with_anything(
    live: Layout | None, persistent: Layout, known: list[BlockDevice], what: Interface | HostDevice
) -> None:
    seen = guest(live, persistent)
    try:
        address = place_peripheral(seen, known, [], what)
    except NoFreePort:
        return
    held = {at for each in seen.layouts for at in each.taken}
    held |= {each.address for each in known if each.address is not None}
    assert not any(place_of(address) == place_of(at) for at in held)
