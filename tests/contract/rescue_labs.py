"""The hypervisors on which the promises of ``Rescues`` are tried, and the rescues tried there."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import libvirt as library
import pytest

from tests.contract.yards import YARDS, FakeYard, Kind, LibvirtYard, Yard
from tests.fakes.hypervisor import FakeGuestDisks
from tests.fakes.images import copy_path
from tests.fakes.moving import FakeAutostart
from tests.fakes.rescues import FakeRescues
from worker.model.block_device import Bus, DeviceType
from worker.model.disk import Disk
from worker.model.guest import Guest, GuestDisk, Layout
from worker.model.identity.alias import config_drive_alias
from worker.model.ids import ImageId, InstanceId, new_uuid
from worker.model.instance import VmState
from worker.model.machine import Machine
from worker.model.places.placement import place_last
from worker.model.rescue.words import RescueLayout, Spot, rescue_alias
from worker.model.source import DiskFormat, DiskOptions
from worker.model.specification import Shape
from worker.ports import Autostart, GuestDisks, Rescues
from worker.virt.autostart import LibvirtAutostart
from worker.virt.disks import LibvirtGuestDisks
from worker.virt.rescues import LibvirtRescues

GONE = "/local/gone"
"""A file that is not there."""


class Lab(ABC):
    """A hypervisor whose guests are rescued; they have nothing to boot, and run."""

    rescues: Rescues
    disks: GuestDisks
    autostart: Autostart

    def __init__(self, yard: Yard) -> None:
        self.yard = yard

    @abstractmethod
    def kept(self, instance: InstanceId) -> object:
        """Return all that the hypervisor keeps for the guest's next start."""

    @abstractmethod
    def save(self, instance: InstanceId) -> None:
        """Have the hypervisor keep what a running guest is doing for its next start."""

    @abstractmethod
    def make_transient(self, instance: InstanceId) -> None:
        """Have the hypervisor forget a guest that runs when it is off."""

    @abstractmethod
    def kernel(self) -> str:
        """Return the path of a kernel that is there."""

    def defined(self, kinds: tuple[Kind, ...], shape: Shape | None = None) -> Machine:
        """Return a machine that is off; its CD, if it has one, is its config drive."""
        machine = self.yard.machine(kinds, shape=shape, interfaces=1)
        config = config_drive_alias(machine.instance)
        disks = tuple(
            replace(disk, alias=config) if disk.device_type is DeviceType.CDROM else disk
            for disk in machine.disks
        )
        machine = replace(machine, disks=disks)
        self.yard.machines.define(machine)
        return machine

    def guest(self, machine: Machine) -> Guest:
        return self.yard.guests.describe(machine.instance)

    def live(self, machine: Machine) -> Layout:
        layout = self.guest(machine).live
        assert layout is not None
        return layout

    def persistent(self, machine: Machine) -> Layout:
        layout = self.guest(machine).persistent
        assert layout is not None
        return layout

    def is_off(self, machine: Machine) -> bool:
        return self.guest(machine).vm_state is VmState.STOPPED

    def rescue_disk(self, machine: Machine, kind: Kind) -> Disk:
        """Return the disk as a stable rescue has it: behind all others."""
        bus, device_type = kind
        place = place_last(self.guest(machine), (), (), bus)
        uuid = new_uuid()
        return Disk(
            alias=rescue_alias(machine.instance),
            target=place.device_name.removeprefix("/dev/"),
            bus=bus,
            device_type=device_type,
            serial=uuid,
            address=place.address,
            source=self.yard.file(uuid, DiskFormat.RAW),
            options=DiskOptions(read_only=device_type is DeviceType.CDROM),
            boot_order=1,
        )

    def stable(self, machine: Machine, kind: Kind = (Bus.USB, DeviceType.DISK)) -> RescueLayout:
        return RescueLayout(disk=self.rescue_disk(machine, kind))

    def legacy(self, machine: Machine) -> RescueLayout:
        """Return the layout in which the rescue disk has the first disk's place."""
        root = machine.disks[0]
        last = self.rescue_disk(machine, (root.bus, root.device_type))
        config = config_drive_alias(machine.instance)
        kept = tuple(each.target for each in machine.disks if each == root or each.alias == config)
        return RescueLayout(
            disk=replace(last, target=root.target, address=root.address),
            first=True,
            kept=kept,
            moved={root.target: Spot(target="vdb", address=last.address)},
        )

    def rescued(self, machine: Machine, layout: RescueLayout | None = None) -> GuestDisk:
        """Have it run in rescue; return the rescue disk as it is shown."""
        self.rescues.start(machine.instance, layout or self.stable(machine))
        alias = rescue_alias(machine.instance)
        (found,) = (disk for disk in self.live(machine).disks if disk.alias == alias)
        return found


class FakeLab(Lab):
    def __init__(self, yard: FakeYard) -> None:
        super().__init__(yard)
        self.world = yard.world
        self.rescues = FakeRescues(yard.world)
        self.disks = FakeGuestDisks(yard.world)
        self.autostart = FakeAutostart(yard.world)

    def kept(self, instance: InstanceId) -> object:
        guest = self.world.guests[instance]
        kept = (guest.name, guest.persistent, guest.persistent_peripherals, guest.beside)
        return copy.deepcopy(kept)

    def save(self, instance: InstanceId) -> None:
        guest = self.world.guests[instance]
        guest.vm_state, guest.live, guest.kept = VmState.STOPPED, {}, ("a managed save",)

    def make_transient(self, instance: InstanceId) -> None:
        self.world.guests[instance].transient = True

    def kernel(self) -> str:
        image = ImageId(new_uuid())
        self.world.cached.add(image)
        return copy_path(image, self.world.cache)


class LibvirtLab(Lab):
    def __init__(self, yard: LibvirtYard) -> None:
        super().__init__(yard)
        self.connection = yard.connection
        self.image = yard.image
        self.rescues = LibvirtRescues(yard.connection)
        self.disks = LibvirtGuestDisks(yard.connection)
        self.autostart = LibvirtAutostart(yard.connection)

    def kept(self, instance: InstanceId) -> object:
        return self.text(instance, library.VIR_DOMAIN_XML_INACTIVE)

    def text(self, instance: InstanceId, which: int = 0) -> str:
        with self.connection.domain(instance) as domain:
            return str(domain.XMLDesc(which | library.VIR_DOMAIN_XML_SECURE))

    def save(self, instance: InstanceId) -> None:
        with self.connection.domain(instance) as domain:
            domain.managedSave()

    def make_transient(self, instance: InstanceId) -> None:
        with self.connection.domain(instance) as domain:
            domain.undefine()

    def kernel(self) -> str:
        return str(self.image.kernel)


@contextmanager
def opened(request: pytest.FixtureRequest, name: str, folder: Path) -> Iterator[Lab]:
    with YARDS[name](request, folder) as yard:
        match yard:
            case FakeYard():
                yield FakeLab(yard)
            case LibvirtYard():
                yield LibvirtLab(yard)
