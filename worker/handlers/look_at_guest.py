"""See what became of a guest while nobody was told, and ask for what it takes to follow."""

import logging
from collections.abc import Callable
from functools import partial
from typing import assert_never

from worker.errors import (
    DatabaseUnavailable,
    DeviceAmbiguous,
    HypervisorRefused,
    InstanceNotFound,
    Unavailable,
)
from worker.handlers.detach_host_device import DetachHostDevice
from worker.handlers.detach_interface import DetachInterface
from worker.handlers.detach_volume import DetachVolume
from worker.handlers.heal_ghost import HealGhost, ghosts_of
from worker.handlers.migrate_aliases import MigrateAliases, look_for_aliases
from worker.handlers.parts.find_device import guest_of, looked_up
from worker.handlers.parts.find_peripheral import see
from worker.handlers.parts.instance_here import is_changeable
from worker.handlers.resume_instance import ResumeInstance
from worker.handlers.sync_power_state import FOLLOWED, SyncPowerState
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.guest import Guest
from worker.model.identity.lookup import disk_by_alias
from worker.model.ids import InstanceId
from worker.model.instance import Instance, TaskState, VmState
from worker.model.method import Method
from worker.model.operation import UNSETTLED, kept_by_guest
from worker.model.peripheral import Peripheral, PeripheralKind
from worker.model.rescue.meanwhile import keeps
from worker.ports import Ports

LOG = logging.getLogger(__name__)

OwnRequest = (
    SyncPowerState
    | ResumeInstance
    | DetachVolume
    | DetachInterface
    | DetachHostDevice
    | HealGhost
    | MigrateAliases
)


def look_at_guest(
    instance: InstanceId, ports: Ports, *, resume: bool = False, first: bool = False
) -> tuple[OwnRequest, ...]:
    """Return the worker's own operations that the guest's present state calls for.

    They are journaled and run like any other; a guest that is as the rows say needs none. A
    domain that is not in this worker's care is none of its business. With ``resume`` the host was
    booted since the rows were written: a guest that ran is brought back, and not called stopped.
    The ``first`` look since a start is for aliases, too: asked at each event, one that cannot be
    given would be tried for ever. Whatever else cannot be told, the power state is followed.
    """
    try:
        found = ports.instances.get(instance)
    except InstanceNotFound:
        return ()
    if found.task_state in (TaskState.DELETING, TaskState.RELEASED):
        # Its guest is off because we have cut its power, or have let it go.
        return ()
    guest = guest_of(instance, ports)
    power = _power(found, guest, resume=resume)
    aliases = _aliases(found, guest, ports) if first and guest is not None else ()
    # What is brought back is looked at again, for its start is an event.
    resumed = ResumeInstance(instance_uuid=instance) in power
    again = DatabaseUnavailable if resumed else Unavailable
    devices = _devices_let_go(found, guest, ports, again) if is_changeable(found, ports) else ()
    return aliases + power + devices


def _devices_let_go(
    instance: Instance, guest: Guest | None, ports: Ports, again: type[Unavailable]
) -> tuple[OwnRequest, ...]:
    disks = _apart(partial(_disks_let_go, instance, guest, ports), again)
    peripherals = _apart(partial(_peripherals_let_go, instance, guest, ports), again)
    return (disks or ()) + (peripherals or ())


def _apart(
    part: Callable[[], tuple[OwnRequest, ...]], again: type[Unavailable] = DatabaseUnavailable
) -> tuple[OwnRequest, ...] | None:
    """Return what a part of the look calls for, None where it fails; ``again`` fails the look."""
    try:
        return part()
    except again:
        raise
    except Exception:
        LOG.exception("guest looked at in part only")
        return None


def _aliases(instance: Instance, guest: Guest, ports: Ports) -> tuple[OwnRequest, ...]:
    """Where it cannot be told, the operation is asked for all the same: it tells why."""
    wanted = _apart(partial(look_for_aliases, instance, guest, ports))
    if wanted is not None:
        return wanted
    others = ports.operations.list(instance=instance.uuid, states=UNSETTLED)
    if any(other.method == Method.MIGRATE_ALIASES for other in others):
        return ()
    return (MigrateAliases(instance_uuid=instance.uuid),)


def _power(instance: Instance, guest: Guest | None, *, resume: bool) -> tuple[OwnRequest, ...]:
    ran = resume and (instance.vm_state is VmState.ACTIVE or _was_in_rescue(instance))
    if ran and guest is not None and guest.live is None:
        return (ResumeInstance(instance_uuid=instance.uuid),)
    if not _changed(instance, guest):
        return ()
    return (SyncPowerState(instance_uuid=instance.uuid),)


def _was_in_rescue(instance: Instance) -> bool:
    return instance.vm_state is VmState.RESCUED and instance.rescue is not None


def _changed(instance: Instance, guest: Guest | None) -> bool:
    state = VmState.STOPPED if guest is None else guest.vm_state
    return instance.vm_state in FOLLOWED and instance.vm_state is not state


def look_for_ghosts(instance: InstanceId, ports: Ports) -> tuple[OwnRequest, ...]:
    """Return what it takes to lay the ghosts of a guest in doubt; QEMU itself is asked.

    An alias that looks like ours is no proof: a row of the instance must have given it. In a rescue
    in which no device may change they are left to its end, for they end with QEMU.
    """
    try:
        if not is_changeable(ports.instances.get(instance), ports):
            return ()
    except InstanceNotFound:
        return ()
    return tuple(
        HealGhost(instance_uuid=instance, alias=alias)
        for alias in ghosts_of(instance, ports)
        if ports.devices.bearing(instance, alias) is not None
    )


def _disks_let_go(
    instance: Instance, guest: Guest | None, ports: Ports
) -> tuple[DetachVolume, ...]:
    return tuple(_finish(row) for row in _let_go(instance, guest, ports))


def _let_go(instance: Instance, guest: Guest | None, ports: Ports) -> tuple[BlockDevice, ...]:
    """Return the devices that a guest gave up after it had refused to."""
    live = None if guest is None else guest.live
    return tuple(
        row
        for row in ports.devices.of_instance(instance.uuid)
        if row.status is DeviceStatus.ATTACHED
        and keeps(instance.rescue, row.target)
        and disk_by_alias(live, row.alias) is None
        and kept_by_guest(ports.operations.last_for(row.uuid, Method.DETACH_VOLUME))
        and not _kept(row, guest, ports)
    )


def _kept(row: BlockDevice, guest: Guest | None, ports: Ports) -> bool:
    """What may be the row's counts as kept: that it has gone must be certain."""
    if guest is None:
        return False
    live, _persistent = looked_up(row, guest, ports)
    return live is not None


def _peripherals_let_go(
    instance: Instance, guest: Guest | None, ports: Ports
) -> tuple[DetachInterface | DetachHostDevice, ...]:
    """Return how to finish with what a guest gave up after it had refused to."""
    rows = ports.peripherals.of_instance(instance.uuid)
    attached = (row for row in rows if row.status is DeviceStatus.ATTACHED)
    wanted = ((row, *_finishing(row)) for row in attached)
    return tuple(
        request
        for row, method, request in wanted
        if kept_by_guest(ports.operations.last_for(row.uuid, method))
        and not _may_have(row, guest, ports)
    )


def _finishing(row: Peripheral) -> tuple[Method, DetachInterface | DetachHostDevice]:
    match row.kind:
        case PeripheralKind.INTERFACE:
            return (
                Method.DETACH_INTERFACE,
                DetachInterface(instance_uuid=row.instance, peripheral_uuid=row.uuid),
            )
        case PeripheralKind.HOST_DEVICE:
            return (
                Method.DETACH_HOST_DEVICE,
                DetachHostDevice(instance_uuid=row.instance, peripheral_uuid=row.uuid),
            )
        case _:
            assert_never(row.kind)


def _may_have(row: Peripheral, guest: Guest | None, ports: Ports) -> bool:
    """What may be the row's counts as kept, as of disks."""
    try:
        return see(row, guest, ports).shown
    except (DeviceAmbiguous, HypervisorRefused):
        return True


def _finish(row: BlockDevice) -> DetachVolume:
    return DetachVolume(instance_uuid=row.instance, volume_id=row.its_volume, bdm_uuid=row.uuid)
