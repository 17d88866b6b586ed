"""What it takes to adopt a machine, to let it go again, and to carry it to another host."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from worker.model.block_device import BlockDevice
from worker.model.guest import Layout
from worker.model.identity.marking import MarkChange
from worker.model.ids import InstanceId
from worker.model.instance import Instance
from worker.model.moving.beside import Beside
from worker.model.operation import Operation
from worker.model.peripheral import Peripheral
from worker.model.source import DiskSource

NewSources = Mapping[str, DiskSource]
"""Where the disk of an alias is now."""


NOTHING_BESIDE = Beside()
"""Every file beside the disks stays where it was."""


class Definitions(ABC):
    """The hypervisor, seen as the texts that it keeps of its machines.

    A text is edited and never made anew: what other hands put there stays. No method touches a
    running guest; what is changed counts from its next cold start.
    """

    @abstractmethod
    def mark(self, instance: InstanceId, changes: Sequence[MarkChange]) -> None:
        """Give devices of the persistent layout other marks, all or none.

        One that bears the wanted marks already is fine; so is a change of nothing. Raises
        DeviceAmbiguous when no device is as a change says, or two would bear one alias,
        DomainNotFound, HypervisorRefused, also for an alias that is not kept.
        """

    @abstractmethod
    def read(self, instance: InstanceId, *, aliases: bool = True) -> str:
        """Return the persistent layout's text, without secrets.

        Without ``aliases`` it names no device by one of ours, as a host would read it that knows
        nothing of them. Raises DomainNotFound, HypervisorRefused for a transient domain.
        """

    @abstractmethod
    def layout(self, text: str) -> Layout:
        """Read what a text says of devices; raises HypervisorRefused for one of no domain."""

    @abstractmethod
    def marked(self, text: str, changes: Sequence[MarkChange]) -> str:
        """Return a text with other marks, and else as it is; raises as ``mark`` does."""

    @abstractmethod
    def taken(self, instance: InstanceId, name: str) -> str | None:
        """Return the name of a domain that has the uuid or the name already; None for no such."""

    @abstractmethod
    def beside(self, instance: InstanceId) -> Beside:
        """Return the files that the persistent layout names beside its disks.

        Raises DomainNotFound, HypervisorRefused for a transient domain.
        """

    @abstractmethod
    def keeps(self, instance: InstanceId) -> tuple[str, ...]:
        """Return what else the hypervisor keeps of a machine, in words, none for nothing.

        It refuses to drop a machine of which it has snapshots or a saved state.
        """

    @abstractmethod
    def define(
        self, instance: InstanceId, text: str, sources: NewSources, beside: Beside = NOTHING_BESIDE
    ) -> None:
        """Make a domain of the text, its files being where they are now; one that is there stays.

        What the text does not name is not added to it.

        Raises HypervisorRefused for a text that is not of this instance, or no domain at all;
        DomainTaken when another domain has its name.
        """

    @abstractmethod
    def renew(self, instance: InstanceId, sources: NewSources) -> None:
        """Have the persistent layout say where disks are now, and change nothing else of them."""

    @abstractmethod
    def drop(self, instance: InstanceId) -> None:
        """Have the hypervisor forget a machine that is off; files stay, its NVRAM included.

        One that is not there is fine; one that runs is HypervisorRefused.
        """


class Autostart(ABC):
    """The hypervisor, seen as what it starts by itself when it starts."""

    @abstractmethod
    def is_on(self, instance: InstanceId) -> bool:
        """Tell whether it starts the machine by itself; one that is not kept, or not there, no."""

    @abstractmethod
    def switch(self, instance: InstanceId, *, on: bool) -> None:
        """Have it start the machine by itself, or not; no running guest is touched.

        A machine that is not kept when it is off, or not there, is fine.
        """


class HostFiles(ABC):
    """Files of this host that are not ours."""

    @abstractmethod
    def exists(self, path: str) -> bool:
        """Tell whether there is a file or device at the path."""

    @abstractmethod
    def label(self, path: str) -> str | None:
        """Return the label of the file system in a file, ISO 9660 or FAT; None for no such."""


class Moves(ABC):
    """Instances that come from another host's worker, or go to one."""

    @abstractmethod
    def find(self, instance: InstanceId) -> Instance | None:
        """Return the instance, whichever host of this database has it."""

    @abstractmethod
    def keep(self, instance: InstanceId, document: Mapping[str, Any]) -> None:
        """Keep the document of an instance that is let go, with the next commit."""

    @abstractmethod
    def kept(self, instance: InstanceId) -> Mapping[str, Any] | None:
        """Return the document that was kept of an instance of this host, None for none."""

    @abstractmethod
    def bring_in(
        self,
        instance: Instance,
        devices: Sequence[BlockDevice],
        others: Sequence[Peripheral] = (),
    ) -> None:
        """Make the instance and its rows this host's, at once and together.

        Rows of it that are there, released or removed, become as given; a document that was kept
        of it is dropped. Raises InstanceTaken when
        a host has it and has not released it, IdTaken, AddressTaken and the like.
        """


class OwnOperations(ABC):
    """What a call has the worker do after it."""

    @abstractmethod
    def begin(self, operation: Operation) -> None:
        """Keep the operation in the journal, with the next durable change."""
