"""Machines and their switches, without a hypervisor."""

from tests.fakes.world import FakeGuest, World
from worker.errors import DomainNotFound, DomainTaken, HypervisorRefused, MachineUnsupported
from worker.model.controllers import empty_layout
from worker.model.ids import InstanceId
from worker.model.instance import VmState
from worker.model.machine import Machine
from worker.ports import Machines, Power


class FakeMachines(Machines):
    def __init__(self, world: World) -> None:
        self.world = world

    def check(self, machine: Machine) -> None:
        if machine.shape.machine_type not in ("q35", "pc"):
            message = f"no machine {machine.shape.machine_type}"
            raise MachineUnsupported(message)
        if machine.instance in self.world.guests:
            raise DomainTaken(machine.instance)
        self._check_name(machine)

    def define(self, machine: Machine) -> None:
        if machine.instance in self.world.guests:
            return
        self._check_name(machine)
        self.world.guests[machine.instance] = FakeGuest(
            name=machine.name,
            vm_state=VmState.STOPPED,
            persistent={disk.alias: disk for disk in machine.disks},
            empty=empty_layout(machine.shape, len(machine.interfaces)),
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


class FakePower(Power):
    """A guest goes off when it is asked, unless it is ``deaf``."""

    def __init__(self, world: World) -> None:
        self.world = world

    def start(self, instance: InstanceId) -> None:
        guest = self.world.guests.get(instance)
        if guest is None:
            message = f"no domain {instance}"
            raise DomainNotFound(message)
        if not guest.running:
            self._check_sources(guest)
            guest.vm_state = VmState.ACTIVE
            guest.live = dict(guest.persistent)

    def ask_off(self, instance: InstanceId) -> None:
        guest = self.world.guests.get(instance)
        if guest is not None and guest.running:
            guest.asked += 1
            if not guest.deaf:
                self._off(guest)

    def wait_off(self, instance: InstanceId, seconds: float) -> bool:
        guest = self.world.guests.get(instance)
        return guest is None or not guest.running

    def cut(self, instance: InstanceId) -> None:
        guest = self.world.guests.get(instance)
        if guest is not None:
            self._off(guest)

    @staticmethod
    def _off(guest: FakeGuest) -> None:
        guest.vm_state = VmState.STOPPED
        guest.live = {}
        guest.ghosts = set()

    def _check_sources(self, guest: FakeGuest) -> None:
        missing = [
            disk.alias
            for disk in guest.persistent.values()
            if not self.world.has_source(disk.source.path)
        ]
        if missing:
            message = f"cannot open the files of {missing}"
            raise HypervisorRefused(message)
