"""A guest as the hypervisor shows it: its state and its two layouts."""

from collections.abc import Mapping
from dataclasses import dataclass

from worker.model.block_device import Bus
from worker.model.host_device import HostDevice
from worker.model.ids import InstanceId
from worker.model.instance import VmState
from worker.model.places.address import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestDisk:
    """One ``<disk>`` of a domain XML; ``source`` is its path or network name.

    ``device`` is what the guest takes it for: ``disk``, ``cdrom``, ``floppy`` or ``lun``. With a
    ``secret_usage`` it is opened with secrets that are found by that text. ``opened_by`` is as
    the source has it.
    """

    target: str
    bus: str
    alias: str | None
    serial: str | None
    source: str | None
    address: Address | None
    device: str = "disk"
    boot_order: int | None = None
    secret_usage: str | None = None
    opened_by: str = ""

    @property
    def facts(self) -> dict[str, str]:
        """What tells the disk from others, as far as it is known."""
        return _known(
            serial=self.serial, source=self.source, target=self.target, address=self.address
        )

    def __str__(self) -> str:
        """Say which disk it is, for people."""
        return f"disk {self.target} ({self.alias or 'no alias'}) of {self.source}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestInterface:
    """One ``<interface>`` of a domain XML; ``target`` is what its ``kind`` joins it to."""

    mac: str
    alias: str | None
    address: Address | None
    kind: str = ""
    target: str | None = None
    model: str | None = None

    @property
    def facts(self) -> dict[str, str]:
        """What tells the interface from others, as far as it is known."""
        return _known(mac=self.mac, address=self.address)

    def __str__(self) -> str:
        """Say which interface it is, for people."""
        return f"interface {self.mac} ({self.alias or 'no alias'}) at {self.address}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestHostDevice:
    """One ``<hostdev>`` of a domain XML; ``source`` is None for a kind that we do not pass."""

    source: HostDevice | None
    alias: str | None
    address: Address | None

    @property
    def facts(self) -> dict[str, str]:
        """What tells the host device from others, as far as it is known."""
        return _known(source=self.source, address=self.address)

    def __str__(self) -> str:
        """Say which host device it is, for people."""
        return f"host device {self.source} ({self.alias or 'no alias'}) at {self.address}"


GuestDevice = GuestDisk | GuestInterface | GuestHostDevice
"""What has an alias, and is attached and detached."""


def _known(**facts: object) -> dict[str, str]:
    return {name: str(fact) for name, fact in facts.items() if fact}


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
    ``others`` are the aliases of what is none of these devices: controllers, consoles. ``machine``
    is the name that the hypervisor has for the kind of machine (``pc-q35-7.2``).
    """

    disks: tuple[GuestDisk, ...]
    interfaces: tuple[GuestInterface, ...] = ()
    host_devices: tuple[GuestHostDevice, ...] = ()
    others: frozenset[str] = frozenset()
    taken: frozenset[Address]
    places: Mapping[Bus, tuple[Address, ...]]
    machine: str = ""

    @property
    def devices(self) -> tuple[GuestDevice, ...]:
        """Everything that has an alias."""
        return (*self.disks, *self.interfaces, *self.host_devices)


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

    @property
    def aliases(self) -> frozenset[str]:
        """Every alias that a device bears, in either layout."""
        devices = (device for layout in self.layouts for device in layout.devices)
        return frozenset(device.alias for device in devices if device.alias is not None)


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
