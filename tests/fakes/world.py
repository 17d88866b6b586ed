"""A small world that behaves like the real one, and can be compared.

What two worlds are compared by is what a user would find: disks of guests, volumes,
attachments, host connections, live rows. What was told and written down is kept beside it, and
so is the harm done: what no world may look like afterwards, because it cannot be undone.
"""

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from worker.model.block_device import BlockDevice, Bus
from worker.model.connection import Connection
from worker.model.disk import Disk
from worker.model.guest import GuestHostDevice, GuestInterface, Layout
from worker.model.guest_secret import SecretUse
from worker.model.identity.lookup import DeviceKind
from worker.model.ids import (
    AttachmentId,
    BlockDeviceId,
    ImageId,
    InstanceId,
    OperationId,
    PeripheralId,
    VolumeId,
)
from worker.model.image import Image
from worker.model.instance import Instance, VmState
from worker.model.leftover import Leftover
from worker.model.moving.beside import Beside
from worker.model.operation import Operation, Step
from worker.model.peripheral import Peripheral
from worker.model.places.address import Address, DriveAddress, PciAddress, UsbAddress
from worker.model.rescue.words import RescueSettings
from worker.model.specification import LocalDisk
from worker.model.update import Update
from worker.model.volume import Attachment, Volume
from worker.sharing import LaneSharing

PLACES: dict[Bus, tuple[Address, ...]] = {
    Bus.VIRTIO: tuple(PciAddress(bus=bus, slot=0) for bus in range(1, 9)),
    Bus.SCSI: tuple(DriveAddress(kind="scsi", unit=unit) for unit in range(256)),
    Bus.USB: tuple(UsbAddress(port=port) for port in range(1, 5)),
}


_ONE_AT_A_TIME = threading.RLock()
"""Held while a world commits, for tests in which lanes run side by side."""


ShownPeripheral = GuestInterface | GuestHostDevice
"""An interface or host device as its hypervisor shows it."""

ThingT = TypeVar("ThingT", bound="FakeGuest | World")


@dataclass
class FakeGuest:
    """A domain: disks and peripherals by alias, in the running guest and in the persistent XML.

    ``ghosts`` are the aliases of disks that the guest has and its hypervisor denies, with those of
    peripherals beside them. ``asked`` counts how often it was asked to power itself off, which a
    ``deaf`` one does not do; a ``slow`` one is ``leaving`` until it is waited for. ``empty`` is its
    layout without disks, for one that was defined by us. ``beside`` are the other files that it
    names; ``kept`` is what its hypervisor keeps of it beside its text. ``kind`` is what it runs on.
    ``sizes`` has the disks that have grown since it has them: how many bytes it was told of.
    ``copies`` are the disks as which others are being copied, by alias; ``copied`` their percents.
    """

    name: str
    vm_state: VmState = VmState.ACTIVE
    live: dict[str, Disk] = field(default_factory=dict)
    persistent: dict[str, Disk] = field(default_factory=dict)
    live_peripherals: dict[str, ShownPeripheral] = field(default_factory=dict)
    persistent_peripherals: dict[str, ShownPeripheral] = field(default_factory=dict)
    ghosts: set[str] = field(default_factory=set)
    peripheral_ghosts: set[str] = field(default_factory=set)
    sizes: dict[str, int] = field(default_factory=dict)
    copies: dict[str, Disk] = field(default_factory=dict)
    copied: dict[str, int] = field(default_factory=dict, compare=False)
    doubted: bool = field(default=False, compare=False)
    busy: bool = False
    deaf: bool = False
    slow: bool = False
    leaving: bool = False
    transient: bool = False
    autostart: bool = False
    kind: str = "qemu"
    asked: int = field(default=0, compare=False)
    empty: Layout | None = None
    beside: Beside = field(default_factory=Beside)
    kept: tuple[str, ...] = ()

    @property
    def running(self) -> bool:
        return self.vm_state in (VmState.ACTIVE, VmState.PAUSED)


class FakeSharing(LaneSharing):
    """The worker's own, for it is no part outside; a copy of a world begins with nobody in it."""

    def __copy__(self) -> "FakeSharing":
        return FakeSharing()

    def __deepcopy__(self, _memo: object) -> "FakeSharing":
        return FakeSharing()


@dataclass
class World:
    """Everything outside the handlers."""

    guests: dict[InstanceId, FakeGuest] = field(default_factory=dict)
    volumes: dict[VolumeId, Volume] = field(default_factory=dict)
    attachments: dict[AttachmentId, Attachment] = field(default_factory=dict)
    connected: set[VolumeId] = field(default_factory=set)
    sizes: dict[VolumeId, int] = field(default_factory=dict)
    unreachable: set[VolumeId] = field(default_factory=set)
    pool_room: int = field(default=1 << 60, compare=False)
    secrets: dict[tuple[InstanceId, BlockDeviceId], set[SecretUse]] = field(default_factory=dict)
    guarded: set[VolumeId] = field(default_factory=set)
    leftovers: dict[tuple[str, str], Leftover] = field(default_factory=dict)
    plain: set[VolumeId] = field(default_factory=set)
    wwids: dict[VolumeId, str] = field(default_factory=dict)
    lost_keys: set[str] = field(default_factory=set)
    rows: dict[BlockDeviceId, BlockDevice] = field(default_factory=dict)
    peripherals: dict[PeripheralId, Peripheral] = field(default_factory=dict)
    connections: dict[BlockDeviceId, Connection] = field(default_factory=dict)
    instances: dict[InstanceId, Instance] = field(default_factory=dict)
    images: dict[ImageId, Image] = field(default_factory=dict)
    files: dict[str, LocalDisk] = field(default_factory=dict)
    bases: dict[str, str] = field(default_factory=dict)
    cache: str = field(default="/cache", compare=False)
    documents: dict[InstanceId, dict[str, Any]] = field(default_factory=dict, compare=False)
    config_drives: dict[InstanceId, dict[str, bytes]] = field(default_factory=dict)
    rescue_drives: dict[InstanceId, dict[str, bytes]] = field(default_factory=dict)
    consoles: set[InstanceId] = field(default_factory=set)
    labels: dict[str, str] = field(default_factory=dict)
    other_files: set[str] = field(default_factory=set)
    texts: dict[str, FakeGuest] = field(default_factory=dict, compare=False)
    room: int = 1 << 50
    cached: set[ImageId] = field(default_factory=set, compare=False)
    images_away: bool = False
    removed: dict[BlockDeviceId, BlockDevice] = field(default_factory=dict, compare=False)
    unplugged: dict[PeripheralId, Peripheral] = field(default_factory=dict, compare=False)
    operations: dict[OperationId, Operation] = field(default_factory=dict, compare=False)
    steps: dict[OperationId, list[Step]] = field(default_factory=dict, compare=False)
    told: list[Update] = field(default_factory=list, compare=False)
    pending: list["Write"] = field(default_factory=list, compare=False)
    visible: list["Write"] = field(default_factory=list, compare=False)
    reserved_at: dict[BlockDeviceId, datetime] = field(default_factory=dict, compare=False)
    sharing: FakeSharing = field(default_factory=FakeSharing, compare=False)
    harm: list[str] = field(default_factory=list, compare=False)
    found_by_facts: list[DeviceKind] = field(default_factory=list, compare=False)
    now: datetime = field(default=datetime(2026, 1, 1, tzinfo=UTC), compare=False)
    settings: RescueSettings = field(default_factory=RescueSettings, compare=False)

    def append(self, write: "Write") -> None:
        """Keep the write of a row for the next commit; reads see it before."""
        with _ONE_AT_A_TIME:
            self.pending.append(write)
            self.visible.append(write)

    def note(self, write: "Write") -> None:
        """Keep the write for the next commit; one of journal or outbox, which no request reads."""
        self.pending.append(write)

    def commit(self) -> None:
        """Make durable what the ports have written since the last time."""
        with _ONE_AT_A_TIME:
            pending, self.pending[:], self.visible[:] = list(self.pending), [], []
            for write in pending:
                write(self)

    def seen(self) -> "World":
        """Return a world whose rows are as a request reads them: with what waits."""
        with _ONE_AT_A_TIME:
            if not self.visible:
                return self
            found = World(
                rows=dict(self.rows),
                removed=dict(self.removed),
                peripherals=dict(self.peripherals),
                unplugged=dict(self.unplugged),
                connections=dict(self.connections),
                instances=dict(self.instances),
            )
            for write in self.visible:
                write(found)
            return found

    def size(self, volume: VolumeId) -> int:
        """Return how many bytes the host sees of a volume, whatever its service says."""
        return self.sizes.get(volume, self.volumes[volume].size)

    def has_source(self, path: str) -> bool:
        """Tell whether a path that a disk names is there; what is not ours always is."""
        folder, _, name = path.rpartition("/")
        if path.startswith("/dev/"):
            folder = "/dev"
        if path.startswith("/local/"):
            return path in self.files
        if folder == "/config":
            return InstanceId(name) in self.config_drives
        if folder == "/config-rescue":
            return InstanceId(name) in self.rescue_drives
        known = VolumeId(name) in self.volumes
        return VolumeId(name) in self.connected if folder == "/dev" and known else True

    def check_not_open(self, path: str) -> None:
        """Note the harm of a file that is deleted under a running guest."""
        for instance, guest in self.guests.items():
            if any(disk.source.name == path for disk in guest.live.values()):
                self.harm.append(f"{path} was deleted under {instance}")

    def crash(self) -> None:
        """Lose what was not durable, and what the worker had in mind."""
        self.pending.clear()
        self.visible.clear()
        self.sharing = FakeSharing()

    def copy(self) -> "World":
        """Return a world that is the same so far, and goes its own way from here."""
        assert not self.pending
        found = _copied(self)
        found.guests = {instance: _copied(guest) for instance, guest in self.guests.items()}
        found.steps = {operation: list(steps) for operation, steps in self.steps.items()}
        return found

    def tick(self) -> datetime:
        """Return a time later than any before."""
        self.now += timedelta(milliseconds=1)
        return self.now

    def events(self) -> list[str]:
        """Return what was told, by event type."""
        return [update.event.value for update in self.told]


Write = Callable[[World], None]
"""A change of the world that is played, perhaps on a copy of it."""


def _copied(thing: ThingT) -> ThingT:
    found = copy.copy(thing)
    for part in fields(thing):
        setattr(found, part.name, copy.copy(getattr(thing, part.name)))
    return found
