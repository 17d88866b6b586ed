"""The rows: block devices, connections, instances."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime

from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.connection import Connection, ConnectionRecord
from worker.model.host_device import HostDevice
from worker.model.ids import AttachmentId, BlockDeviceId, InstanceId, PeripheralId, VolumeId
from worker.model.instance import Instance, TaskState
from worker.model.peripheral import Peripheral
from worker.model.update import Update


class BlockDevices(ABC):
    """The rows of ``block_device_mapping``.

    ``insert``, ``amend``, ``release`` and ``move`` are done when they return. ``save`` and
    ``remove`` become durable with the next outside call, or with the end of the request, with what
    is told.
    """

    @abstractmethod
    def get(self, uuid: BlockDeviceId) -> BlockDevice:
        """Return the row, removed ones included; raises BlockDeviceNotFound."""

    @abstractmethod
    def look(self, uuid: BlockDeviceId) -> BlockDevice | None:
        """Return the row, removed ones included, or None."""

    @abstractmethod
    def of_instance(self, instance: InstanceId) -> tuple[BlockDevice, ...]:
        """Return the live rows of an instance, by device name."""

    @abstractmethod
    def bearing(self, instance: InstanceId, alias: str) -> BlockDevice | None:
        """Return the row that gave a disk of the instance its alias: the live one, or the last."""

    @abstractmethod
    def holding(self, attachment: AttachmentId) -> BlockDevice | None:
        """Return the row that has the attachment: the live one, or the last removed."""

    @abstractmethod
    def reserved_before(self, moment: datetime) -> tuple[BlockDevice, ...]:
        """Return the rows of this host's instances that are only reserved, since before then."""

    @abstractmethod
    def missing(self) -> tuple[BlockDevice, ...]:
        """Return the rows of this host's instances whose volume is missing."""

    @abstractmethod
    def called(self, wwid: str) -> tuple[BlockDevice, ...]:
        """Return the live rows of this host's instances whose volume's device says it is that."""

    @abstractmethod
    def connected(self) -> tuple[BlockDevice, ...]:
        """Return the rows that say how this host reaches their volume, or did, oldest first.

        Those of its instances, and those that its journal or a record of a connection names;
        removed rows and those of removed instances included.
        """

    @abstractmethod
    def insert(self, device: BlockDevice, tell: Update) -> None:
        """Add a row and tell it.

        Raises DeviceNameTaken, AddressTaken, VolumeAlreadyAttached or IdTaken, as the
        constraint that refused it says.
        """

    @abstractmethod
    def amend(self, device: BlockDevice) -> None:
        """Keep the row as given, at once; raises TagTaken, DeviceWrongState for a removed one."""

    @abstractmethod
    def release(self, device: BlockDevice, tell: Update) -> None:
        """Delete the row and tell it, if it is still reserved; else DeviceWrongState."""

    @abstractmethod
    def move(self, device: BlockDevice, status: DeviceStatus) -> BlockDevice:
        """Change the status, if it is still ``device.status``; else DeviceWrongState."""

    @abstractmethod
    def save(self, device: BlockDevice) -> None:
        """Keep the row as given."""

    @abstractmethod
    def remove(self, device: BlockDevice) -> None:
        """Delete the row (softly: it is never used again); one that is gone is fine."""


class Peripherals(ABC):
    """The rows of ``peripherals``: interfaces and host devices.

    ``insert`` and ``move`` are done when they return. ``save`` and ``remove`` become durable with
    the next outside call, or with the end of the request, with what is told.
    """

    @abstractmethod
    def of_instance(self, instance: InstanceId) -> tuple[Peripheral, ...]:
        """Return the live rows of an instance, oldest first."""

    @abstractmethod
    def look(self, uuid: PeripheralId) -> Peripheral | None:
        """Return the row, removed ones included, or None."""

    @abstractmethod
    def bearing(self, instance: InstanceId, alias: str) -> Peripheral | None:
        """Return the row that gave a device of the instance its alias: the live one, or the last.

        None for an alias that is a disk's, or nobody's.
        """

    @abstractmethod
    def having(self, device: HostDevice) -> Peripheral | None:
        """Return the live row, of whatever instance of this host, that has the host device."""

    @abstractmethod
    def insert(self, peripheral: Peripheral) -> None:
        """Add a row.

        Raises PeripheralTaken when the instance has the port, or an instance of this host the
        host device, AddressTaken when a disk or a peripheral of the instance is at its address,
        IdTaken for an id that was used before.
        """

    @abstractmethod
    def move(self, peripheral: Peripheral, status: DeviceStatus) -> Peripheral:
        """Change the status, if it is still ``peripheral.status``; else DeviceWrongState."""

    @abstractmethod
    def save(self, peripheral: Peripheral) -> None:
        """Keep the row as given."""

    @abstractmethod
    def remove(self, peripheral: Peripheral) -> None:
        """Delete the row (softly: it is never used again); one that is gone is fine."""


class Connections(ABC):
    """The record of what this host is connected to, whatever became of the row."""

    @abstractmethod
    def put(self, device: BlockDevice, connection: Connection) -> None:
        """Keep the connection, its secrets removed, before it is made."""

    @abstractmethod
    def get(self, device: BlockDeviceId) -> Connection | None:
        """Return the connection kept for a row."""

    @abstractmethod
    def list(self) -> tuple[ConnectionRecord, ...]:
        """Return every record of this host, oldest first."""

    @abstractmethod
    def others(self, device: BlockDeviceId, volume: VolumeId) -> frozenset[BlockDeviceId]:
        """Return the other rows for which this host has the volume.

        Those with a record, and those that are attached, should their record be lost.
        """

    @abstractmethod
    def drop(self, device: BlockDeviceId) -> None:
        """Forget the connection once it is gone from the host."""


class Instances(ABC):
    """The rows of ``instances``; ``save`` is durable as ``BlockDevices.save`` is."""

    @abstractmethod
    def get(self, instance: InstanceId) -> Instance:
        """Return the instance of this host; raises InstanceNotFound."""

    @abstractmethod
    def list(self) -> tuple[Instance, ...]:
        """Return the instances of this host, by name."""

    @abstractmethod
    def in_rescue(self) -> tuple[Instance, ...]:
        """Return those that are in rescue, or on their way there or back."""

    @abstractmethod
    def insert(
        self,
        instance: Instance,
        devices: Sequence[BlockDevice] = (),
        others: Sequence[Peripheral] = (),
    ) -> None:
        """Add a row, and those of its devices, at once.

        Raises InstanceTaken, IdTaken, PeripheralTaken.
        """

    @abstractmethod
    def adopt_peripherals(self, instance: Instance, others: Sequence[Peripheral]) -> None:
        """Add rows to an instance that has one, and keep its adoption as given, all at once.

        Raises Conflict where any of them is refused; then nothing is kept.
        """

    @abstractmethod
    def save(self, instance: Instance) -> None:
        """Keep the row as given, but for its specification."""

    @abstractmethod
    def change_task(
        self, instance: InstanceId, *, was: TaskState | None, becomes: TaskState | None
    ) -> None:
        """Say what is being done with the instance, if it says ``was``; durable as ``save`` is."""

    @abstractmethod
    def remove(self, instance: InstanceId) -> None:
        """Delete the row (softly), with the next commit; one that is gone is fine."""
