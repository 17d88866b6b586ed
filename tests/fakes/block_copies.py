"""Copies of disks without a QEMU: each look finds one further on."""

from dataclasses import replace

from tests.fakes.hypervisor import check_opened, shown
from tests.fakes.world import FakeGuest, World
from worker.errors import DomainNotFound, HypervisorRefused
from worker.model.block_copy import BlockCopy
from worker.model.disk import Disk
from worker.model.ids import InstanceId
from worker.ports import BlockCopies

STEP = 50
"""Percent that a copy comes further from one look to the next."""


class FakeBlockCopies(BlockCopies):
    """A guest that stops loses its copies, as QEMU does."""

    def __init__(self, world: World) -> None:
        self.world = world

    def begin(self, instance: InstanceId, disk: Disk, size: int) -> None:
        guest = self._guest(instance)
        had = guest.live.get(disk.alias) if guest.running else None
        if had is None:
            message = f"no running guest has {disk.alias}"
            raise HypervisorRefused(message)
        other = guest.copies.get(disk.alias, disk)
        if other.source.name != disk.source.name:
            message = f"{disk.alias} is being copied to {other.source.name}"
            raise HypervisorRefused(message)
        if had.source.name == disk.source.name or disk.alias in guest.copies:
            return
        check_opened(self.world, {disk.alias: disk})
        guest.copies[disk.alias] = disk
        guest.copied[disk.alias] = 0

    def look(self, instance: InstanceId, alias: str) -> BlockCopy:
        guest = self.world.guests.get(instance)
        if guest is None:
            return BlockCopy()
        found = (guest.live if guest.running else guest.persistent).get(alias)
        source = None if found is None else shown(found).source
        target = guest.copies.get(alias) if guest.running else None
        if target is None:
            return BlockCopy(source=source)
        percent = guest.copied[alias]
        guest.copied[alias] = min(100, percent + STEP)
        return BlockCopy(
            source=source, target=target.source.name, percent=percent, ready=percent == 100
        )

    def pivot(self, instance: InstanceId, alias: str, target: str) -> None:
        guest = self._guest(instance)
        disk = guest.copies.get(alias)
        if disk is None:
            if self.look(instance, alias).source == target:
                return
            message = f"{alias} is not being copied"
            raise HypervisorRefused(message)
        if guest.copied[alias] < 100:
            message = f"the copy of {alias} is not ready"
            raise HypervisorRefused(message)
        for layout in (guest.live, guest.persistent):
            if alias in layout:
                layout[alias] = _with_content(layout[alias], disk)
        del guest.copies[alias]

    def abort(self, instance: InstanceId, alias: str, target: str) -> None:
        guest = self.world.guests.get(instance)
        copy = None if guest is None else guest.copies.get(alias)
        if guest is not None and copy is not None and copy.source.name == target:
            del guest.copies[alias]

    def settle(self, instance: InstanceId, disk: Disk, size: int) -> None:
        """Its disks are as large as their volumes."""
        guest = self.world.guests.get(instance)
        if guest is not None and disk.alias in guest.persistent:
            guest.persistent[disk.alias] = _with_content(guest.persistent[disk.alias], disk)

    def _guest(self, instance: InstanceId) -> FakeGuest:
        try:
            return self.world.guests[instance]
        except KeyError as error:
            message = f"no domain {instance}"
            raise DomainNotFound(message) from error


def _with_content(had: Disk, disk: Disk) -> Disk:
    return replace(had, source=disk.source, secret_usage=disk.secret_usage)
