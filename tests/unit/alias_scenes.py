"""Guests of an older release: rows that name aliases, and devices that do not bear them."""

from dataclasses import replace

from tests.fakes.world import World
from tests.unit import scenes
from tests.unit.scenes import INSTANCE
from worker.model.block_device import DeviceStatus
from worker.model.guest import GuestHostDevice, GuestInterface
from worker.model.host_device import HostDevice, HostDeviceKind
from worker.model.ids import PeripheralId, PortId
from worker.model.instance import VmState
from worker.model.peripheral import Peripheral
from worker.model.places.address import PciAddress
from worker.model.specification import Interface, InterfaceKind

MAC = "52:54:00:00:00:01"
FIRST = Peripheral(
    uuid=PeripheralId("ab5e0000-0000-4000-8000-000000000001"),
    instance=INSTANCE,
    what=Interface(port=PortId("port-1"), kind=InterfaceKind.USER, mac=MAC),
    alias="ua-port-1",
    address=PciAddress(bus=7, slot=0),
    status=DeviceStatus.ATTACHED,
)
TWIN = replace(
    FIRST,
    uuid=PeripheralId("ab5e0000-0000-4000-8000-000000000002"),
    what=Interface(port=PortId("port-2"), kind=InterfaceKind.USER, mac=MAC),
    alias="ua-port-2",
    address=PciAddress(bus=8, slot=0),
)
CARD = Peripheral(
    uuid=PeripheralId("ab5e0000-0000-4000-8000-000000000003"),
    instance=INSTANCE,
    what=HostDevice(kind=HostDeviceKind.PCI, name="0000:03:00.0"),
    alias="ua-ab5e0000-0000-4000-8000-000000000003",
    address=PciAddress(bus=9, slot=0),
    status=DeviceStatus.ATTACHED,
)


def nameless(vm_state: VmState = VmState.ACTIVE) -> World:
    """A guest with a volume, two interfaces of one MAC and a host device, none with its alias."""
    world = scenes.world(vm_state)
    scenes.attach(world)
    guest = world.guests[INSTANCE]
    for row in (FIRST, TWIN, CARD):
        world.peripherals[row.uuid] = row
    net = GuestInterface(mac=MAC, alias=None, address=FIRST.address, kind="user", model="virtio")
    twin = replace(net, address=TWIN.address)
    assert isinstance(CARD.what, HostDevice)
    card = GuestHostDevice(source=CARD.what, alias=None, address=CARD.address)
    guest.persistent_peripherals = {
        "?net": net,
        "?twin": twin,
        "?card": card,
    }
    if guest.running:
        guest.live_peripherals = {
            "net0": replace(net, alias="net0"),
            "net1": replace(twin, alias="net1"),
            "hostdev0": replace(card, alias="hostdev0"),
        }
    unname(world)
    return world


def without(world: World) -> World:
    """Return the world in which the host could not say where the volume is."""
    found = world.copy()
    _unname_kept(found)
    return found


def bare(world: World) -> World:
    """Return the world but for aliases and rows: those that are there say what is so.

    Whatever is told of the operation that wrote them: nothing has to be taken back.
    """
    found = without(world)
    found.peripherals.clear()
    found.instances[INSTANCE] = replace(found.instances[INSTANCE], adoption=None)
    guest = found.guests[INSTANCE]
    others = [replace(one, alias=None) for one in guest.persistent_peripherals.values()]
    guest.persistent_peripherals = {f"?{one.address}": one for one in others}
    return found


def _unname_kept(world: World) -> None:
    guest = world.guests[INSTANCE]
    disks = [replace(disk, alias="") for disk in guest.persistent.values()]
    guest.persistent = {f"?{disk.target}": disk for disk in disks}


def unname(world: World) -> None:
    """Take the aliases from the disks of both layouts, as other hands would define them."""
    _unname_kept(world)
    guest = world.guests[INSTANCE]
    live = {f"virtio-disk{n}": disk for n, disk in enumerate(guest.live.values())}
    guest.live = {alias: replace(disk, alias=alias) for alias, disk in live.items()}


def rowless(vm_state: VmState = VmState.ACTIVE) -> World:
    """The same guest, adopted by a release that kept no rows of interfaces and host devices."""
    world = nameless(vm_state)
    world.peripherals.clear()
    return world
