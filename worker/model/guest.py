"""A guest as the hypervisor shows it: its state and its two layouts."""

from collections.abc import Mapping
from dataclasses import dataclass

from worker.model.address import Address
from worker.model.block_device import Bus
from worker.model.ids import InstanceId
from worker.model.instance import VmState


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestDisk:
    """One ``<disk>`` of a domain XML; ``source`` is its path or network name.

    ``device`` is what the guest takes it for: ``disk``, ``cdrom``, ``floppy`` or ``lun``.
    """

    target: str
    bus: str
    alias: str | None
    serial: str | None
    source: str | None
    address: Address | None
    device: str = "disk"
    boot_order: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerDisk:
    """A disk as QEMU itself has it; ``nodes`` are its block nodes, the guest's end first."""

    alias: str
    source: str | None
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What one XML of a guest, live or persistent, says about devices and room for more.

    ``taken`` holds the address of every device, disk or not; ``places`` the addresses, free or
    not, that the controllers offer to a disk of each bus. A bus without a controller is absent.
    """

    disks: tuple[GuestDisk, ...]
    taken: frozenset[Address]
    places: Mapping[Bus, tuple[Address, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A domain: ``live`` is None while it is shut off, ``persistent`` while it is transient."""

    instance: InstanceId
    name: str
    vm_state: VmState
    live: Layout | None
    persistent: Layout | None

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The layouts there are."""
        return tuple(layout for layout in (self.live, self.persistent) if layout is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRemoved:
    """Event: the guest let go of a device."""

    instance: InstanceId
    alias: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerChanged:
    """Event: a domain was started, stopped, paused or resumed, by whomever."""

    instance: InstanceId


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestInDoubt:
    """Event: the hypervisor died and is back; QEMU may have what it denies."""

    instance: InstanceId


GuestEvent = DeviceRemoved | PowerChanged | GuestInDoubt
