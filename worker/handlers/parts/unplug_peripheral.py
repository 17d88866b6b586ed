"""Take an interface or a host device out of its instance: what both kinds of detach do."""

from collections.abc import Callable
from dataclasses import replace

from worker.errors import (
    DatabaseUnavailable,
    DeviceSuperseded,
    DeviceWrongState,
    GuestBusy,
    HypervisorUnavailable,
    LeftBehind,
    PeripheralNotFound,
)
from worker.handlers.parts.find_device import guest_of, make_own
from worker.handlers.parts.find_peripheral import see
from worker.handlers.parts.instance_here import changeable_instance
from worker.model.block_device import DETACH_BEGUN, DeviceStatus
from worker.model.ids import InstanceId, PeripheralId
from worker.model.peripheral import Peripheral
from worker.ports import Ports
from worker.undo import Undo

Fits = Callable[[Peripheral], bool]
"""Whether a row stands for what a request names."""


def live_row(instance: InstanceId, fits: Fits, ports: Ports) -> PeripheralId | None:
    """Return the row that is meant now, to be asked at acceptance.

    So a late detach cannot undo a newer attachment.
    """
    rows = ports.peripherals.of_instance(instance)
    return next((row.uuid for row in rows if fits(row)), None)


def meant_row(
    instance: InstanceId, uuid: PeripheralId | None, fits: Fits, ports: Ports
) -> Peripheral:
    """Return the row that a request means.

    Raises InstanceNotFound and InstanceWrongState where the instance is not, or not wholly, this
    host's; InstanceRescued, PeripheralNotFound, DeviceWrongState, and DeviceSuperseded where it is
    gone and another row stands for the same.
    """
    changeable_instance(instance, ports)
    row = None if uuid is None else ports.peripherals.look(uuid)
    if row is None:
        message = f"instance {instance} has no such interface or host device"
        raise PeripheralNotFound(message)
    if row.instance != instance or not fits(row):
        message = f"{row.kind} {row.uuid} is {row.what}, of instance {row.instance}"
        raise DeviceWrongState(message)
    newer = live_row(instance, fits, ports)
    if row.deleted and newer is not None:
        message = f"{row.kind} {row.uuid} is gone; {newer} was attached since"
        raise DeviceSuperseded(message)
    return row


def plug_out(row: Peripheral, ports: Ports) -> Peripheral:
    """Make the guest let go of it, live and for its next start, then remove the row.

    What is gone already is a success. A guest that refuses leaves all as it was. One that bears no
    alias of ours is found by two facts that agree, or refused before all else.
    """
    if row.deleted:
        return row
    if row.status is DeviceStatus.ATTACHING:
        message = f"{row.kind} {row.uuid} is attaching; its attach has not ended"
        raise DeviceWrongState(message)
    if row.status not in DETACH_BEGUN:
        _look_at_guest(row, ports)
    try:
        _detach(row, ports)
    except DatabaseUnavailable:
        raise
    except LeftBehind:
        ports.peripherals.save(replace(row, status=DeviceStatus.ERROR))
        raise
    return row


def _look_at_guest(row: Peripheral, ports: Ports) -> None:
    """Refuse what is another's; doubt a running guest that is said not to have its own.

    As of a volume: its QEMU may have it all the same, unless it let go after it had refused.
    """
    guest = guest_of(row.instance, ports)
    denied = not see(row, guest, ports).shown and guest is not None and guest.live is not None
    asked = ports.progress.operation
    if denied and row.status is DeviceStatus.ATTACHED and asked is not None and not asked.own:
        ports.insides.doubt(row.instance)


def _detach(row: Peripheral, ports: Ports) -> None:
    with Undo(ports.progress) as undo:
        undo.earlier("guest_peripherals.unplug", _check_kept, row, ports)

        undo.by(_restore_status, row, ports)
        if row.status not in DETACH_BEGUN:
            ports.peripherals.move(row, DeviceStatus.DETACHING)

        alias = _borne(row, ports)
        undo.by(_check_kept, row, ports)
        _unplug(row, alias, ports)
        undo.commit_point()

        make_own(row, see(row, guest_of(row.instance, ports), ports).kept, ports)
        ports.guest_peripherals.forget(row.instance, row.alias)
        _unplug_once_more(row, ports)

        ports.peripherals.remove(row)


def _restore_status(row: Peripheral, ports: Ports) -> None:
    """One that is run again finds it detaching, or stuck."""
    former = DeviceStatus.ATTACHED if row.status in DETACH_BEGUN else row.status
    ports.peripherals.save(replace(row, status=former))


def _borne(row: Peripheral, ports: Ports) -> str:
    """Return the alias to unplug.

    After a run that asked the guest there is no way back from a look that fails: it may have lost
    the device by then. It is asked once more.
    """
    try:
        return see(row, guest_of(row.instance, ports), ports).alias
    except HypervisorUnavailable:
        if not ports.progress.reached("guest_peripherals.unplug"):
            raise
        return row.alias


def _unplug(row: Peripheral, alias: str, ports: Ports) -> None:
    """A call that broke off, or came to a refusal, may have reached the guest all the same."""
    try:
        ports.guest_peripherals.unplug(row.instance, alias)
    except (GuestBusy, HypervisorUnavailable):
        if see(row, guest_of(row.instance, ports), ports).shown:
            raise


def _unplug_once_more(row: Peripheral, ports: Ports) -> None:
    """A guest that was started by other hands in between had it from the persistent layout."""
    seen = see(row, guest_of(row.instance, ports), ports)
    if seen.shown:
        ports.guest_peripherals.unplug(row.instance, seen.alias)


def _check_kept(row: Peripheral, ports: Ports) -> None:
    """There is no way back to a guest that has lost the device; say so."""
    if not see(row, guest_of(row.instance, ports), ports).shown:
        message = f"the guest lost {row.alias} all the same"
        raise HypervisorUnavailable(message)
