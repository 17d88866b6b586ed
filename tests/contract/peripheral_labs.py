"""The hypervisors on which the promises of interfaces and host devices are tried."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from lxml import etree

from tests.fakes.hypervisor import FakeGuestDisks, FakeGuests
from tests.fakes.machines import FakePower
from tests.fakes.peripherals import FakeGuestPeripherals, shown_peripheral
from tests.fakes.world import FakeGuest, World
from tests.guests import BOOT_TIMEOUT, Guest, GuestMaker, guest_maker
from worker.model.guest import GuestInterface
from worker.model.ids import InstanceId, new_uuid
from worker.model.instance import VmState
from worker.model.peripheral import Peripheral
from worker.model.places.address import PciAddress
from worker.model.specification import Interface
from worker.ports import GuestDisks, GuestPeripherals, Guests, Power
from worker.virt.disks import LibvirtGuestDisks
from worker.virt.guests import LibvirtGuests
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.peripherals import LibvirtGuestPeripherals
from worker.virt.power import LibvirtPower
from worker.virt.qemu.monitor import ask

FOREIGN_MAC = "52:54:00:00:00:fe"
FOREIGN = f"<interface type='user'><mac address='{FOREIGN_MAC}'/><model type='virtio'/></interface>"


class PeripheralLab(ABC):
    """A hypervisor with a guest; what is ``hurried`` asks it to let go, and soon gives up."""

    guests: Guests
    disks: GuestDisks
    peripherals: GuestPeripherals
    hurried: GuestPeripherals
    power: Power

    @abstractmethod
    def running(self) -> InstanceId:
        """Return a guest that runs, answers and has nothing of ours."""

    @abstractmethod
    def stopped(self) -> InstanceId:
        """Return a guest that is off, has nothing of ours, and places for USB devices."""

    @abstractmethod
    def transient(self) -> InstanceId:
        """Return a guest that runs and has no persistent layout."""

    @abstractmethod
    def give_foreign(self, instance: InstanceId) -> str:
        """Give a running guest an interface without an alias; return the hypervisor's own."""

    @abstractmethod
    def pause(self, instance: InstanceId) -> None:
        """Stop the clock of the guest, so that it lets go of nothing."""

    @abstractmethod
    def resume(self, instance: InstanceId) -> None:
        """Let a paused guest go on."""

    @abstractmethod
    def plant_ghost(self, nic: Peripheral) -> None:
        """Give the guest the user-mode interface, past its hypervisor."""

    @abstractmethod
    def doubt(self, instance: InstanceId) -> None:
        """Let the hypervisor have died under the guest."""

    @abstractmethod
    def doubted(self, instance: InstanceId) -> bool:
        """Whether the guest is in doubt."""

    @abstractmethod
    def wait_until_seen(self, instance: InstanceId, *macs: str) -> None:
        """Return when the guest itself sees these interfaces; fails if that never comes."""


class FakeLab(PeripheralLab):
    def __init__(self) -> None:
        self.world = World()
        self.guests = FakeGuests(self.world)
        self.disks = FakeGuestDisks(self.world)
        self.peripherals = self.hurried = FakeGuestPeripherals(self.world)
        self.power = FakePower(self.world)
        self.haunted: dict[str, Peripheral] = {}

    def running(self) -> InstanceId:
        return self._guest(FakeGuest(name="guest-under-test"))

    def stopped(self) -> InstanceId:
        return self._guest(FakeGuest(name="guest-under-test", vm_state=VmState.STOPPED))

    def transient(self) -> InstanceId:
        return self._guest(FakeGuest(name="guest-under-test", transient=True))

    def give_foreign(self, instance: InstanceId) -> str:
        shown = GuestInterface(
            mac=FOREIGN_MAC, alias="net0", address=None, kind="user", model="virtio"
        )
        self.world.guests[instance].live_peripherals["net0"] = shown
        return "net0"

    def pause(self, instance: InstanceId) -> None:
        self._become(instance, VmState.PAUSED)

    def resume(self, instance: InstanceId) -> None:
        self._become(instance, VmState.ACTIVE)

    def plant_ghost(self, nic: Peripheral) -> None:
        guest = self.world.guests[nic.instance]
        guest.peripheral_ghosts.add(nic.alias)
        self.haunted[nic.alias] = nic

    def doubt(self, instance: InstanceId) -> None:
        self.world.guests[instance].doubted = True

    def doubted(self, instance: InstanceId) -> bool:
        return self.world.guests[instance].doubted

    def wait_until_seen(self, instance: InstanceId, *macs: str) -> None:
        guest = self.world.guests[instance]
        ghosts = [self.haunted[alias] for alias in guest.peripheral_ghosts]
        shown = [*guest.live_peripherals.values(), *map(shown_peripheral, ghosts)]
        seen = [each.mac for each in shown if isinstance(each, GuestInterface)]
        assert sorted(seen) == sorted(macs)

    def _become(self, instance: InstanceId, state: VmState) -> None:
        guest = self.world.guests[instance]
        guest.vm_state, guest.busy = state, state is VmState.PAUSED

    def _guest(self, guest: FakeGuest) -> InstanceId:
        instance = InstanceId(new_uuid())
        self.world.guests = {instance: guest}
        return instance


class LibvirtLab(PeripheralLab):
    """One guest that runs serves many tests, one that does not the others.

    The first is booted anew where a test has left it in no fit state.
    """

    def __init__(self, make: GuestMaker, connection: LibvirtConnection) -> None:
        self.make = make
        self.connection = connection
        self.guests = LibvirtGuests(connection)
        self.disks = LibvirtGuestDisks(connection)
        self.peripherals = LibvirtGuestPeripherals(
            connection, detach_retry_interval=5, detach_attempts=4
        )
        self.hurried = LibvirtGuestPeripherals(
            connection, detach_retry_interval=0.2, detach_attempts=2
        )
        self.power = LibvirtPower(connection)
        self.guest: Guest | None = None
        self.off: Guest | None = None

    def running(self) -> InstanceId:
        if self.guest is None or not self._cleared(self.guest, VmState.ACTIVE):
            self.guest = self.make(ports=6)
        # Whatever an earlier test found in it, this one begins without doubt.
        self.connection._events.doubts.settle(InstanceId(self.guest.uuid))  # noqa: SLF001
        return InstanceId(self.guest.uuid)

    def stopped(self) -> InstanceId:
        if self.off is None or not self._cleared(self.off, VmState.STOPPED):
            self.off = self.make(ports=9, usb=True, booted=False)
        return InstanceId(self.off.uuid)

    def transient(self) -> InstanceId:
        return InstanceId(self.make(ports=6, persistent=False).uuid)

    def give_foreign(self, instance: InstanceId) -> str:
        domain = self._guest(instance).domain
        domain.attachDeviceFlags(FOREIGN)
        element = etree.fromstring(domain.XMLDesc(0)).find("devices/interface/alias")
        assert element is not None
        return str(element.get("name"))

    def pause(self, instance: InstanceId) -> None:
        self._guest(instance).domain.suspend()

    def resume(self, instance: InstanceId) -> None:
        self._guest(instance).domain.resume()

    def plant_ghost(self, nic: Peripheral) -> None:
        domain, at, what = self._guest(nic.instance).domain, nic.address, nic.what
        assert isinstance(at, PciAddress)
        assert isinstance(what, Interface)
        ask(domain, "netdev_add", {"type": "user", "id": f"host{nic.alias}"})
        device = {"driver": "virtio-net-pci", "id": nic.alias, "netdev": f"host{nic.alias}"}
        place = {"mac": what.mac, "bus": f"pci.{at.bus}", "addr": "0x0"}
        ask(domain, "device_add", device | place)

    def doubt(self, instance: InstanceId) -> None:
        self.connection.doubt(instance)

    def doubted(self, instance: InstanceId) -> bool:
        return self.connection.in_doubt(instance)

    def wait_until_seen(self, instance: InstanceId, *macs: str) -> None:
        self._guest(instance).console.wait_for_interfaces(
            lambda seen: sorted(seen.values()) == sorted(macs), BOOT_TIMEOUT
        )

    def _guest(self, instance: InstanceId) -> Guest:
        assert self.guest is not None
        assert self.guest.uuid == instance
        return self.guest

    def _cleared(self, guest: Guest, state: VmState) -> bool:
        seen = self.guests.describe(InstanceId(guest.uuid))
        if seen.vm_state is not state:
            return False
        for alias in {one.alias for layout in seen.layouts for one in layout.devices if one.alias}:
            self.peripherals.unplug(seen.instance, alias)
            self.peripherals.forget(seen.instance, alias)
        return not any(layout.devices for layout in self.guests.describe(seen.instance).layouts)


@contextmanager
def fake(_request: pytest.FixtureRequest, _folder: Path) -> Iterator[PeripheralLab]:
    yield FakeLab()


@contextmanager
def libvirt(request: pytest.FixtureRequest, folder: Path) -> Iterator[PeripheralLab]:
    uri, image = request.getfixturevalue("libvirtd"), request.getfixturevalue("guest_image")
    connection = LibvirtConnection(uri)
    with guest_maker(uri, image, folder) as make:
        yield LibvirtLab(make, connection)
    connection.close()


Opener = Callable[[pytest.FixtureRequest, Path], AbstractContextManager[PeripheralLab]]

PERIPHERAL_LABS: Mapping[str, Opener] = {"fake": fake, "libvirt": libvirt}
"""Another hypervisor, or another fake of one, is one line more."""
