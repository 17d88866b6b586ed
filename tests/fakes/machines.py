"""Machines and their switches, without a hypervisor."""

import re
from collections.abc import Mapping

from tests.fakes.hypervisor import check_opened, shown
from tests.fakes.images import copy_path
from tests.fakes.peripherals import shown_peripheral
from tests.fakes.world import FakeGuest, World
from worker.errors import DomainNotFound, DomainTaken, HypervisorRefused, MachineUnsupported
from worker.model.disk import Disk
from worker.model.ids import InstanceId
from worker.model.instance import VmState
from worker.model.machine import Machine
from worker.model.moving.beside import Beside
from worker.model.places.controllers import SCSI_UNITS, empty_layout, places
from worker.model.specification import Firmware
from worker.ports import Machines, Power


class FakeMachines(Machines):
    def __init__(self, world: World) -> None:
        self.world = world

    def check(self, machine: Machine) -> None:
        _check_writable(machine)
        _check_supported(machine)
        if machine.instance in self.world.guests:
            raise DomainTaken(machine.instance)
        self._check_name(machine)

    def define(self, machine: Machine) -> None:
        _check_writable(machine)
        disks = {disk.alias: disk for disk in machine.disks}
        kept = self.world.guests.get(machine.instance)
        if kept is not None:
            _check_same(kept, disks)
            return
        self._check_name(machine)
        _check_aliases(disks)
        self.world.guests[machine.instance] = FakeGuest(
            name=machine.name,
            vm_state=VmState.STOPPED,
            persistent=disks,
            persistent_peripherals={
                each.alias: shown_peripheral(each) for each in machine.interfaces
            },
            empty=empty_layout(machine.shape, 0),
            beside=_beside(machine),
        )

    def undefine(self, instance: InstanceId) -> None:
        guest = self.world.guests.get(instance)
        if guest is None:
            return
        if guest.running:
            message = f"{instance} runs"
            raise HypervisorRefused(message)
        del self.world.guests[instance]

    def _check_name(self, machine: Machine) -> None:
        if any(guest.name == machine.name for guest in self.world.guests.values()):
            raise DomainTaken(machine.name)


def _beside(machine: Machine) -> Beside:
    kernel = machine.kernel
    return Beside(
        console=machine.console,
        kernel=None if kernel is None else kernel.kernel,
        ramdisk=None if kernel is None else kernel.ramdisk,
        nvram=f"/nvram/{machine.name}" if machine.firmware is Firmware.UEFI else None,
    )


def _check_writable(machine: Machine) -> None:
    if not machine.name.isprintable():
        message = f"no XML holds {machine.name!r}"
        raise MachineUnsupported(message)


def _check_supported(machine: Machine) -> None:
    shape = machine.shape
    if not re.fullmatch(r"q35|pc|pc-(q35|i440fx)-[1-9][\w.]*", shape.machine_type):
        message = f"no machine {shape.machine_type}"
        raise MachineUnsupported(message)
    if shape.scsi_model is not None and shape.scsi_model not in SCSI_UNITS:
        message = f"no scsi controller {shape.scsi_model}"
        raise MachineUnsupported(message)
    for disk in machine.disks:
        if disk.bus not in places(shape):
            message = f"disk {disk.target}: bus {disk.bus} is not there"
            raise MachineUnsupported(message)


def _check_aliases(disks: Mapping[str, Disk]) -> None:
    bad = [alias for alias in disks if not re.fullmatch(r"ua-[A-Za-z0-9_-]+", alias)]
    if bad:
        message = f"the aliases {bad} are dropped"
        raise HypervisorRefused(message)


def _check_same(kept: FakeGuest, disks: Mapping[str, Disk]) -> None:
    there = {shown(disk) for disk in kept.persistent.values()}
    if not {shown(disk) for disk in disks.values()} <= there:
        message = f"{kept.name} is there, and is another machine"
        raise HypervisorRefused(message)


class FakePower(Power):
    """A guest goes off when it is asked, unless it is ``deaf``."""

    def __init__(self, world: World) -> None:
        self.world = world

    def start(self, instance: InstanceId) -> None:
        guest = self.world.guests.get(instance)
        if guest is None:
            message = f"no domain {instance}"
            raise DomainNotFound(message)
        guest.autostart = False
        if not guest.running:
            check_sources(self.world, guest.persistent, guest.beside)
            check_opened(self.world, guest.persistent)
            guest.vm_state = VmState.ACTIVE
            guest.live = dict(guest.persistent)
            guest.live_peripherals = dict(guest.persistent_peripherals)
            guest.sizes = {}

    def ask_off(self, instance: InstanceId) -> None:
        guest = self.world.guests.get(instance)
        if guest is not None and guest.running:
            guest.asked += 1
            guest.leaving = not guest.deaf
            if guest.leaving and not guest.slow:
                self._off(guest)

    def wait_off(self, instance: InstanceId, seconds: float) -> bool:
        guest = self.world.guests.get(instance)
        if guest is not None and guest.leaving:
            self._off(guest)
        return guest is None or not guest.running

    def cut(self, instance: InstanceId) -> None:
        guest = self.world.guests.get(instance)
        if guest is not None:
            self._off(guest)

    @staticmethod
    def _off(guest: FakeGuest) -> None:
        guest.vm_state = VmState.STOPPED
        guest.leaving = False
        guest.live = {}
        guest.copies = {}
        guest.live_peripherals = {}
        guest.ghosts = set()
        guest.peripheral_ghosts = set()
        guest.sizes = {}


def check_sources(world: World, disks: Mapping[str, Disk], beside: Beside) -> None:
    """Refuse to start with a file that is not there."""
    missing = [disk.alias for disk in disks.values() if not world.has_source(disk.source.name)]
    sources = [disk.source.name for disk in disks.values()]
    bases = [world.bases[path] for path in sources if path in world.bases]
    named = [beside.kernel, beside.ramdisk, *bases]
    copies = {copy_path(image, world.cache) for image in world.cached}
    missing += [path for path in named if path is not None and path not in copies]
    if missing:
        message = f"cannot open the files of {missing}"
        raise HypervisorRefused(message)
