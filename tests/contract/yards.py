"""Where machines are made, and the machines that are made there."""

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.hypervisor import FakeGuests
from tests.fakes.machines import FakeMachines, FakePower
from tests.fakes.world import World
from tests.guests import BOOT_TIMEOUT, remove_guests
from worker.cmd.demo.guest import GuestConsole
from worker.cmd.demo.guest_image import GuestImage
from worker.model.block_device import Bus, DeviceType
from worker.model.disk import Disk
from worker.model.ids import InstanceId, PeripheralId, PortId, new_uuid
from worker.model.machine import Kernel, Machine
from worker.model.peripheral import Peripheral
from worker.model.places.address import Address, first_free
from worker.model.places.controllers import empty_layout, interface_addresses
from worker.model.places.names import names
from worker.model.source import DiskFormat, DiskOptions, FileSource
from worker.model.specification import Firmware, Interface, InterfaceKind, Shape
from worker.ports import Guests, Machines, Power
from worker.virt.guests import LibvirtGuests
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.machines import LibvirtMachines
from worker.virt.power import LibvirtPower

SIZE = 8 << 20
KERNEL_ARGUMENTS = (
    "console=ttyS0 quiet loglevel=0 panic=1 "
    "cryptomgr.notests nokaslr 8250.nr_uarts=1 tsc=reliable no_timer_check"
)
Kind = tuple[Bus, DeviceType]
DISK, CDROM, FLOPPY = DeviceType.DISK, DeviceType.CDROM, DeviceType.FLOPPY


class Yard(ABC):
    """A hypervisor on which machines are made."""

    machines: Machines
    power: Power
    guests: Guests

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: list[str] = []

    def machine(
        self,
        kinds: Sequence[Kind] = (),
        *,
        shape: Shape | None = None,
        interfaces: int = 0,
        firmware: Firmware = Firmware.BIOS,
    ) -> Machine:
        """Return a machine with a disk of each kind, at the first free place of its bus.

        It has nothing to boot: it runs, and is deaf to its power button.
        """
        shape = shape or Shape(pcie_ports=8)
        instance = InstanceId(new_uuid())
        self.made.append(instance)
        return Machine(
            instance=instance,
            name=f"test-{instance[:8]}",
            vcpus=1,
            memory=64,
            shape=shape,
            firmware=firmware,
            disks=self.disks(kinds, shape, interfaces),
            interfaces=_interfaces(shape, interfaces),
            console=str(self.folder / f"{instance}.log"),
        )

    def disks(self, kinds: Sequence[Kind], shape: Shape, interfaces: int) -> tuple[Disk, ...]:
        """Return a disk of each kind; the first is what the machine is booted from."""
        empty = empty_layout(shape, interfaces)
        taken, targets, found = set(empty.taken), set[str](), list[Disk]()
        for bus, device_type in kinds:
            address = first_free(empty.places[bus], taken)
            assert address is not None
            target = next(name for name in names(bus) if name not in targets)
            taken.add(address)
            targets.add(target)
            uuid = new_uuid()
            found.append(
                Disk(
                    alias=f"ua-{uuid}",
                    target=target,
                    bus=bus,
                    device_type=device_type,
                    serial=uuid,
                    address=address,
                    source=self.file(uuid, DiskFormat.RAW),
                    options=DiskOptions(read_only=device_type is CDROM),
                    boot_order=None if found else 1,
                )
            )
        return tuple(found)

    def file(self, name: str, disk_format: DiskFormat) -> FileSource:
        """Make a disk's file."""
        path = self.folder / name
        if disk_format is DiskFormat.RAW:
            with path.open("wb") as file:
                file.truncate(SIZE)
        else:
            command = ["qemu-img", "create", "-q", "-f", disk_format.value, str(path), str(SIZE)]
            subprocess.run(command, check=True)
        return FileSource(path=str(path), format=disk_format)

    @abstractmethod
    def make_deaf(self, instance: InstanceId) -> None:
        """Have a machine with nothing to boot not go off when it is asked."""

    @abstractmethod
    def bootable(self, machine: Machine) -> Machine:
        """Return the machine with a system that hears its power button."""

    @abstractmethod
    def wait_until_booted(self, machine: Machine) -> Mapping[str, tuple[str, int]]:
        """Return the serial and size that the guest sees of each disk; fails if it never boots."""


class FakeYard(Yard):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.world = World()
        self.machines = FakeMachines(self.world)
        self.power = FakePower(self.world)
        self.guests = FakeGuests(self.world)

    def make_deaf(self, instance: InstanceId) -> None:
        self.world.guests[instance].deaf = True

    def bootable(self, machine: Machine) -> Machine:
        return machine

    def wait_until_booted(self, machine: Machine) -> Mapping[str, tuple[str, int]]:
        live = self.world.guests[machine.instance].live.values()
        return {disk.target: ((disk.serial or "")[:20], SIZE) for disk in live}


class LibvirtYard(Yard):
    def __init__(self, folder: Path, connection: LibvirtConnection, image: GuestImage) -> None:
        super().__init__(folder)
        self.machines = LibvirtMachines(connection)
        self.power = LibvirtPower(connection)
        self.guests = LibvirtGuests(connection)
        self.connection = connection
        self.image = image

    def make_deaf(self, instance: InstanceId) -> None:
        """Its firmware, which finds nothing to boot, is deaf."""

    def bootable(self, machine: Machine) -> Machine:
        kernel = Kernel(
            kernel=str(self.image.kernel),
            ramdisk=str(self.image.initrd),
            command_line=KERNEL_ARGUMENTS,
        )
        return replace(machine, memory=160, kernel=kernel)

    def wait_until_booted(self, machine: Machine) -> Mapping[str, tuple[str, int]]:
        console = GuestConsole(Path(machine.console or ""))
        seen = console.wait_for(lambda disks: len(disks) >= len(machine.disks), BOOT_TIMEOUT)
        return {disk.device: (disk.serial, disk.size) for disk in seen.values()}


def _interfaces(shape: Shape, wanted: int) -> tuple[Peripheral, ...]:
    places = interface_addresses(shape, wanted)
    return tuple(_interface(number, place) for number, place in enumerate(places))


def _interface(number: int, place: Address) -> Peripheral:
    port = PortId(new_uuid())
    return Peripheral(
        uuid=PeripheralId(new_uuid()),
        instance=InstanceId(new_uuid()),
        what=Interface(port=port, kind=InterfaceKind.USER, mac=f"52:54:00:00:00:{number:02x}"),
        alias=f"ua-{port}",
        address=place,
    )


@contextmanager
def fake(_request: pytest.FixtureRequest, folder: Path) -> Iterator[Yard]:
    yield FakeYard(folder)


@contextmanager
def libvirt(request: pytest.FixtureRequest, folder: Path) -> Iterator[Yard]:
    uri, image = request.getfixturevalue("libvirtd"), request.getfixturevalue("guest_image")
    connection = LibvirtConnection(uri)
    yard = LibvirtYard(folder, connection, image)
    try:
        yield yard
    finally:
        connection.close()
        remove_guests(uri, yard.made)


Opener = Callable[[pytest.FixtureRequest, Path], AbstractContextManager[Yard]]

YARDS: Mapping[str, Opener] = {"fake": fake, "libvirt": libvirt}
"""Another hypervisor, or another fake of one, is one line more."""
