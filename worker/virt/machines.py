"""The machines that libvirt keeps."""

from contextlib import suppress

from worker.errors import DomainNotFound, MachineUnsupported
from worker.model.ids import InstanceId
from worker.model.machine import Machine
from worker.ports import Machines
from worker.virt.connection import LibvirtConnection


class LibvirtMachines(Machines):
    """Machines by the uuid of their domain."""

    def __init__(self, connection: LibvirtConnection) -> None:
        self._connection = connection

    def check(self, machine: Machine) -> None:
        """Raise unless the machine can be made; makes nothing."""
        raise MachineUnsupported(f"{machine.name}: machines are not made yet")

    def define(self, machine: Machine) -> None:
        """Make the machine's persistent layout; one of its uuid that is there stays as it is."""
        raise MachineUnsupported(f"{machine.name}: machines are not made yet")

    def undefine(self, instance: InstanceId) -> None:
        """Forget a machine that is off; one that is not there is fine."""
        with suppress(DomainNotFound), self._connection.domain(instance) as domain:
            domain.undefine()
