"""A hypervisor without one."""

from collections.abc import Mapping
from dataclasses import replace

from tests.fakes.volume_service import LUKS_HEADER
from tests.fakes.world import PLACES, FakeGuest, ShownPeripheral, World
from worker.errors import DomainNotFound, GuestBusy, HypervisorRefused
from worker.model.disk import Disk
from worker.model.guest import (
    Guest,
    GuestDisk,
    GuestHostDevice,
    GuestInterface,
    InnerDisk,
    Layout,
)
from worker.model.guest_secret import GuestSecret, usage_of
from worker.model.identity.alias import is_ours
from worker.model.ids import BlockDeviceId, InstanceId, VolumeId
from worker.ports import GuestDisks, GuestInsides, Guests, GuestSecrets

NONE: Mapping[str, ShownPeripheral] = {}
NOTHING = Layout(disks=(), taken=frozenset(), places=PLACES)


def shown(disk: Disk) -> GuestDisk:
    return GuestDisk(
        target=disk.target,
        bus=str(disk.bus),
        # A disk of other hands has none; an empty drive has no source.
        alias=disk.alias or None,
        serial=disk.given_serial,
        source=disk.source.name or None,
        address=disk.address,
        device=disk.device_type.value,
        boot_order=disk.boot_order,
        secret_usage=disk.secret_usage,
        opened_by=disk.source.opened_by,
    )


def layout(
    disks: dict[str, Disk],
    empty: Layout | None = None,
    peripherals: Mapping[str, ShownPeripheral] = NONE,
) -> Layout:
    without = empty or NOTHING
    others = tuple(peripherals.values())
    devices = (*disks.values(), *others)
    taken = {device.address for device in devices if device.address}
    if not devices:
        return without
    return replace(
        without,
        disks=tuple(shown(disk) for disk in disks.values()),
        interfaces=tuple(one for one in others if isinstance(one, GuestInterface)),
        host_devices=tuple(one for one in others if isinstance(one, GuestHostDevice)),
        taken=without.taken | taken,
    )


def live_alias(disk: Disk) -> str:
    """Return the alias of a running guest's disk: libvirt gives one to what has none."""
    return disk.alias or f"{disk.bus}-disk-{disk.target}"


def lay_ghost(guest: FakeGuest, alias: str) -> None:
    """Take the disk that the hypervisor denies out of the guest, if there is one."""
    if alias in guest.ghosts and guest.busy:
        message = f"the guest keeps {alias}"
        raise GuestBusy(message)
    guest.ghosts.discard(alias)


def _live(guest: FakeGuest) -> Layout:
    live = {
        key: disk if disk.alias else replace(disk, alias=live_alias(disk))
        for key, disk in guest.live.items()
    }
    return layout(live, guest.empty, guest.live_peripherals)


def _persistent(guest: FakeGuest) -> Layout:
    return layout(guest.persistent, guest.empty, guest.persistent_peripherals)


class FakeGuests(Guests):
    def __init__(self, world: World) -> None:
        self.world = world

    def describe(self, instance: InstanceId) -> Guest:
        guest = self.world.guests.get(instance)
        if guest is None:
            message = f"no domain {instance}"
            raise DomainNotFound(message)
        return Guest(
            instance=instance,
            name=guest.name,
            vm_state=guest.vm_state,
            live=_live(guest) if guest.running else None,
            persistent=None if guest.transient else _persistent(guest),
        )

    def find(self, name_or_uuid: str) -> Guest:
        for instance, guest in self.world.guests.items():
            if name_or_uuid in (instance, guest.name):
                return self.describe(instance)
        message = f"no domain {name_or_uuid}"
        raise DomainNotFound(message)


class FakeGuestDisks(GuestDisks):
    def __init__(self, world: World) -> None:
        self.world = world

    def attach(self, instance: InstanceId, disk: Disk) -> None:
        guest = self._guest(instance)
        places = [guest.persistent] + ([guest.live] if guest.running else [])
        for place in places:
            self._check(place, disk)
        for peripherals in (guest.persistent_peripherals, guest.live_peripherals):
            _check_apart(peripherals, disk)
        if guest.running and disk.alias not in guest.live:
            lay_ghost(guest, disk.alias)
            check_opened(self.world, {disk.alias: disk})
        for place in places:
            place.setdefault(disk.alias, disk)
        guest.autostart = False

    def unplug(self, instance: InstanceId, alias: str) -> None:
        guest = self.world.guests.get(instance)
        if guest is None:
            return
        if guest.doubted:
            lay_ghost(guest, alias)
        kept = {key: disk for key, disk in guest.live.items() if live_alias(disk) != alias}
        if kept != guest.live and guest.busy:
            message = f"the guest keeps {alias}"
            raise GuestBusy(message)
        guest.live = kept
        guest.sizes = {key: size for key, size in guest.sizes.items() if key in kept}

    def resize(self, instance: InstanceId, alias: str, size: int) -> None:
        guest = self.world.guests.get(instance)
        if guest is None or not guest.running:
            return
        for key in [key for key, disk in guest.live.items() if live_alias(disk) == alias]:
            if guest.live[key].options.read_only:
                return
            self._check_size(guest.live[key], size)
            guest.sizes[key] = max(size, guest.sizes.get(key, 0))

    def forget(self, instance: InstanceId, alias: str) -> None:
        guest = self.world.guests.get(instance)
        if guest is not None:
            guest.persistent.pop(alias, None)

    def _guest(self, instance: InstanceId) -> FakeGuest:
        try:
            return self.world.guests[instance]
        except KeyError as error:
            message = f"no domain {instance}"
            raise DomainNotFound(message) from error

    def _check_size(self, disk: Disk, size: int) -> None:
        """Refuse as QEMU does where there is less, and cut as it does where there is more."""
        volume = VolumeId(disk.source.name.rpartition("/")[2])
        there = self.world.size(volume) if volume in self.world.volumes else size
        there -= LUKS_HEADER if disk.encrypted else 0
        if there < size:
            message = f"cannot grow {disk.alias} to {size} bytes: there are {there}"
            raise HypervisorRefused(message)
        if there > size:
            self.world.harm.append(f"volume {volume} was cut from {there} to {size} bytes")

    @staticmethod
    def _check(place: dict[str, Disk], disk: Disk) -> None:
        for other in place.values():
            if other.alias == disk.alias and shown(other) != shown(disk):
                message = f"{disk.alias} is {shown(other)}, not {shown(disk)}"
                raise HypervisorRefused(message)
            if other.alias != disk.alias and (
                other.target == disk.target or other.address == disk.address
            ):
                message = f"{disk.target} or its address is taken"
                raise HypervisorRefused(message)


def check_opened(world: World, disks: Mapping[str, Disk]) -> None:
    """Refuse a disk that QEMU would be asked to open without what opens it."""
    given = {usage_of(*owner) for owner in world.secrets}
    for alias, disk in disks.items():
        if disk.secret_usage not in (None, *given):
            message = f"no secret with matching usage {disk.secret_usage} for {alias}"
            raise HypervisorRefused(message)


class FakeGuestSecrets(GuestSecrets):
    def __init__(self, world: World) -> None:
        self.world = world

    def put(self, instance: InstanceId, device: BlockDeviceId, secret: GuestSecret) -> None:
        self.world.secrets.setdefault((instance, device), set()).add(secret.use)

    def drop(self, instance: InstanceId) -> None:
        for owner in [owner for owner in self.world.secrets if owner[0] == instance]:
            del self.world.secrets[owner]

    def list(self) -> tuple[tuple[InstanceId, BlockDeviceId], ...]:
        return tuple(sorted(self.world.secrets))


def _check_apart(peripherals: Mapping[str, ShownPeripheral], disk: Disk) -> None:
    for alias, other in peripherals.items():
        if alias == disk.alias or (disk.address is not None and other.address == disk.address):
            message = f"{disk.alias} or its address is taken by {other}"
            raise HypervisorRefused(message)


class FakeGuestInsides(GuestInsides):
    def __init__(self, world: World) -> None:
        self.world = world

    def disks(self, instance: InstanceId) -> tuple[InnerDisk, ...]:
        guest = self.world.guests.get(instance)
        if guest is None or not guest.running:
            return ()
        found = {live_alias(disk): shown(disk).source for disk in guest.live.values()}
        known = {alias: source for alias, source in found.items() if is_ours(alias)}
        inner = dict.fromkeys(guest.ghosts) | known
        return tuple(InnerDisk(alias=alias, source=inner[alias]) for alias in sorted(inner))

    def in_doubt(self, instance: InstanceId) -> bool:
        guest = self.world.guests.get(instance)
        return guest is not None and guest.doubted

    def doubt(self, instance: InstanceId) -> None:
        self.world.guests[instance].doubted = True

    def remove(self, instance: InstanceId, alias: str) -> None:
        guest = self.world.guests.get(instance)
        if guest is None or not guest.running:
            return
        if alias in guest.live:
            message = f"the hypervisor has {alias} too"
            raise HypervisorRefused(message)
        lay_ghost(guest, alias)
