"""The hypervisor: guests, their disks, machines and switches."""

from abc import ABC, abstractmethod

from worker.model.disk import Disk
from worker.model.guest import Guest, InnerDisk
from worker.model.guest_secret import GuestSecret
from worker.model.ids import BlockDeviceId, InstanceId
from worker.model.machine import Machine
from worker.model.peripheral import Peripheral


class Guests(ABC):
    """The hypervisor, seen as the guests that it runs."""

    @abstractmethod
    def describe(self, instance: InstanceId) -> Guest:
        """Return the guest as it is now; raises DomainNotFound, HypervisorUnavailable."""

    @abstractmethod
    def find(self, name_or_uuid: str) -> Guest:
        """Return the guest of that name or uuid; raises DomainNotFound, HypervisorUnavailable."""


class GuestDisks(ABC):
    """The hypervisor, seen as the disks of one guest."""

    @abstractmethod
    def attach(self, instance: InstanceId, disk: Disk) -> None:
        """Plug the disk in, into each of the live and persistent layouts that lacks it.

        Afterwards both have it at its address under its alias. Raises DomainNotFound,
        HypervisorRefused, HypervisorUnavailable; GuestBusy when a ghost is in its place and stays.
        """

    @abstractmethod
    def unplug(self, instance: InstanceId, alias: str) -> None:
        """Take the disk from the running guest and wait until it has let go.

        A disk, or a guest, that is not there is fine; the persistent layout is not touched. The
        alias may be the hypervisor's own. Raises GuestBusy when the guest keeps the disk,
        HypervisorUnavailable.
        """

    @abstractmethod
    def resize(self, instance: InstanceId, alias: str, size: int) -> None:
        """Have the running guest see so many bytes of the disk, which are there already.

        The alias may be the hypervisor's own. A disk, or a guest, that is not there, or off, has
        nothing to be told, and one that sees more keeps it. Of one that it has read-only it hears
        at its next start. Raises HypervisorRefused, HypervisorUnavailable.
        """

    @abstractmethod
    def forget(self, instance: InstanceId, alias: str) -> None:
        """Take the disk from the persistent layout; one that is not there is fine."""


class GuestSecrets(ABC):
    """The hypervisor, seen as what it hands to QEMU so that a disk can be opened."""

    @abstractmethod
    def put(self, instance: InstanceId, device: BlockDeviceId, secret: GuestSecret) -> None:
        """Have the row's secret at hand, in memory only; one that is there gets the new value.

        Raises ConnectFailed for what cannot be such a secret, HypervisorUnavailable.
        """

    @abstractmethod
    def drop(self, instance: InstanceId) -> None:
        """Forget every secret of the instance's rows; one that has none is fine."""

    @abstractmethod
    def list(self) -> tuple[tuple[InstanceId, BlockDeviceId], ...]:
        """Return whose secrets are at hand, as what they are found by says."""


class GuestPeripherals(ABC):
    """The hypervisor, seen as the interfaces and host devices of one guest."""

    @abstractmethod
    def attach(self, instance: InstanceId, peripheral: Peripheral) -> None:
        """Plug it in, into each of the live and persistent layouts that lacks it.

        Afterwards both have it at its address under its alias. Raises DomainNotFound,
        HypervisorRefused, also when one has it otherwise, HypervisorUnavailable; GuestBusy when a
        ghost is in its place and stays.
        """

    @abstractmethod
    def unplug(self, instance: InstanceId, alias: str) -> None:
        """Take it from the running guest and wait until that has let go.

        What is not there is fine, a guest too; the persistent layout is not touched. The alias may
        be the hypervisor's own. Raises GuestBusy when the guest keeps it, HypervisorUnavailable.
        """

    @abstractmethod
    def forget(self, instance: InstanceId, alias: str) -> None:
        """Take it from the persistent layout; one that is not there is fine."""


class GuestInsides(ABC):
    """QEMU itself, seen past its hypervisor, which may deny what QEMU has (DESIGN section 1.2).

    To ask marks a guest as tampered with (libvirt's ``custom-monitor``), so it is for guests whose
    hypervisor died, and for repair.
    """

    @abstractmethod
    def disks(self, instance: InstanceId) -> tuple[InnerDisk, ...]:
        """Return the disks that bear an alias of ours (``ua-``), by alias.

        A guest that does not run, or is not there, has none. Raises HypervisorUnavailable.
        """

    @abstractmethod
    def in_doubt(self, instance: InstanceId) -> bool:
        """Tell whether the hypervisor died under the guest, so that QEMU is to be asked."""

    @abstractmethod
    def doubt(self, instance: InstanceId) -> None:
        """Put the guest in doubt until it stops: QEMU was seen to have what is denied."""

    @abstractmethod
    def remove(self, instance: InstanceId, alias: str) -> None:
        """Take a disk that the hypervisor denies out of QEMU, and what QEMU opened for it.

        One that is not there is fine. Raises GuestBusy when the guest keeps it, HypervisorRefused
        when the hypervisor has the disk too (then it is no ghost), HypervisorUnavailable.
        """


class Machines(ABC):
    """The hypervisor, seen as the machines that it keeps."""

    @abstractmethod
    def check(self, machine: Machine) -> None:
        """Raise unless the machine can be made; makes nothing.

        Its disks need not be there yet. Raises MachineUnsupported for a type, firmware or device
        that this hypervisor lacks, DomainTaken when a domain has its name or uuid.
        """

    @abstractmethod
    def define(self, machine: Machine) -> None:
        """Make the machine's persistent layout; one of its uuid that is there stays as it is.

        Afterwards every disk is as it was asked for. Raises DomainTaken when another domain has its
        name, HypervisorRefused, also when the one that is there has a disk otherwise.
        """

    @abstractmethod
    def undefine(self, instance: InstanceId) -> None:
        """Forget a machine that is off, with what the hypervisor keeps beside it (its NVRAM).

        One that is not there is fine; one that runs is HypervisorRefused.
        """


class Power(ABC):
    """The hypervisor, seen as the switches of its machines."""

    @abstractmethod
    def start(self, instance: InstanceId) -> None:
        """Start the guest from its persistent layout; one that runs is fine.

        Raises DomainNotFound, HypervisorRefused.
        """

    @abstractmethod
    def ask_off(self, instance: InstanceId) -> None:
        """Ask the guest to power itself off, and return at once; one that is off is fine.

        To ask twice may be to ask the guest that was started in between: a handler asks once.
        """

    @abstractmethod
    def wait_off(self, instance: InstanceId, seconds: float) -> bool:
        """Wait until the guest is off; return whether it is. One that is not there is off."""

    @abstractmethod
    def cut(self, instance: InstanceId) -> None:
        """Take the power from the guest; one that is off, or not there, is fine."""
