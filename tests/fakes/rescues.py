"""Guests that run with another layout than their persistent one, without a hypervisor."""

from collections.abc import Sequence
from dataclasses import replace

from tests.fakes.hypervisor import check_opened
from tests.fakes.machines import check_sources
from tests.fakes.world import FakeGuest, World
from worker.errors import DomainNotFound, HypervisorRefused, MachineUnsupported
from worker.model.disk import Disk
from worker.model.identity.alias import config_drive_alias
from worker.model.ids import InstanceId
from worker.model.instance import VmState
from worker.model.machine import Kernel
from worker.model.moving.beside import Beside
from worker.model.places.fits import fits
from worker.model.rescue.words import RescueLayout, rescue_alias
from worker.ports import Rescues


class FakeRescues(Rescues):
    """A domain of another ``kind`` than qemu or kvm is one that it cannot rescue."""

    def __init__(self, world: World) -> None:
        self.world = world

    def check(self, instance: InstanceId, layout: RescueLayout) -> None:
        guest = self._guest(instance)
        _check_kept(guest)
        if guest.kind not in ("qemu", "kvm"):
            message = f"a domain of type {guest.kind} cannot be rescued"
            raise MachineUnsupported(message)
        if layout.kernel is not None and not layout.kernel.command_line.isprintable():
            message = f"no XML holds {layout.kernel.command_line!r}"
            raise MachineUnsupported(message)
        disks = tuple(_disks(instance, guest, layout).values())
        _check_apart("name", [disk.target for disk in disks])
        _check_apart("address", [disk.address for disk in disks if disk.address is not None])
        machine = "" if guest.empty is None else guest.empty.machine
        if not fits(layout.disk.device_type, layout.disk.bus, machine):
            message = f"a {machine} machine takes no {layout.disk.device_type} on this bus"
            raise MachineUnsupported(message)

    def start(self, instance: InstanceId, layout: RescueLayout) -> None:
        guest = self._guest(instance)
        guest.autostart = False
        if guest.running:
            if rescue_alias(instance) not in guest.live:
                message = f"{guest.name} runs, and not in rescue"
                raise HypervisorRefused(message)
            return
        _check_kept(guest)
        live = _disks(instance, guest, layout)
        kernel = layout.kernel or Kernel(kernel="")
        booted = Beside(kernel=kernel.kernel or None, ramdisk=kernel.ramdisk)
        check_sources(self.world, live, booted)
        check_opened(self.world, live)
        guest.vm_state = VmState.ACTIVE
        guest.live = live
        guest.live_peripherals = dict(guest.persistent_peripherals)
        guest.sizes = {}

    def _guest(self, instance: InstanceId) -> FakeGuest:
        try:
            return self.world.guests[instance]
        except KeyError as error:
            message = f"no domain {instance}"
            raise DomainNotFound(message) from error


def _check_kept(guest: FakeGuest) -> None:
    if guest.transient:
        message = f"{guest.name} is transient"
        raise HypervisorRefused(message)
    if "a managed save" in guest.kept:
        message = f"{guest.name} has a saved state"
        raise HypervisorRefused(message)


def _check_apart(what: str, given: Sequence[object]) -> None:
    if len(set(given)) < len(given):
        message = f"two disks would have one {what}"
        raise MachineUnsupported(message)


def _kept(guest: FakeGuest, layout: RescueLayout) -> dict[str, Disk]:
    return {
        alias: disk
        for alias, disk in guest.persistent.items()
        if layout.kept is None or disk.target in layout.kept
    }


def _disks(instance: InstanceId, guest: FakeGuest, layout: RescueLayout) -> dict[str, Disk]:
    kept = {alias: _shown(disk, layout) for alias, disk in _kept(guest, layout).items()}
    config = config_drive_alias(instance)
    if layout.config is not None and config in kept:
        kept[config] = replace(kept[config], source=layout.config)
    rescue = {layout.disk.alias: layout.disk}
    return rescue | kept if layout.first else kept | rescue


def _shown(disk: Disk, layout: RescueLayout) -> Disk:
    spot = (layout.moved or {}).get(disk.target)
    still = replace(disk, boot_order=None)
    return still if spot is None else replace(still, target=spot.target, address=spot.address)
