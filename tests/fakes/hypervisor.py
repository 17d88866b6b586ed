"""A hypervisor without one."""

from tests.fakes.world import PLACES, FakeGuest, World
from worker.errors import DomainNotFound, GuestBusy, HypervisorRefused
from worker.model.disk import Disk
from worker.model.guest import Guest, GuestDisk, Layout
from worker.model.ids import InstanceId
from worker.model.source import BlockSource, FileSource
from worker.ports import GuestDisks, Guests


def shown(disk: Disk) -> GuestDisk:
    match disk.source:
        case BlockSource(path=path) | FileSource(path=path):
            return GuestDisk(
                target=disk.target,
                bus=disk.bus.value,
                alias=disk.alias,
                serial=disk.serial,
                source=path,
                address=disk.address,
            )


def layout(disks: dict[str, Disk]) -> Layout:
    return Layout(
        disks=tuple(shown(disk) for disk in disks.values()),
        taken=frozenset(disk.address for disk in disks.values() if disk.address),
        places=PLACES,
    )


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
            live=layout(guest.live) if guest.running else None,
            persistent=layout(guest.persistent),
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
        for place in places:
            place.setdefault(disk.alias, disk)

    def unplug(self, instance: InstanceId, alias: str) -> None:
        guest = self.world.guests.get(instance)
        if guest is None or alias not in guest.live:
            return
        if guest.busy:
            message = f"the guest keeps {alias}"
            raise GuestBusy(message)
        del guest.live[alias]

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
