"""Have an instance in rescue be again what it was before."""

from dataclasses import dataclass, replace

from worker.errors import DomainNotFound, InstanceWrongState
from worker.handlers.parts.config_drive import renew_config_drive
from worker.handlers.parts.power_off import have_off, see_off
from worker.handlers.parts.reach_volume import Ways
from worker.handlers.parts.rescue_guest import (
    delete_files,
    rescue_layout,
    rescue_of,
    run_in_rescue,
)
from worker.handlers.parts.restore_disks import (
    check_kept,
    check_root,
    check_startable,
    restore_disks,
)
from worker.model.guest import Guest
from worker.model.ids import InstanceId, OperationId
from worker.model.instance import Instance, PowerChange, VmState
from worker.model.rescue.plan import in_rescue
from worker.ports import Ports
from worker.undo import Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class UnrescueInstance:
    """Operation: end the rescue; unless it is a ``clean_shutdown`` its guest's power is cut.

    ``rescue_operation`` is the one that began the rescue that is meant; None is for whichever.
    """

    instance_uuid: InstanceId
    clean_shutdown: bool = True
    rescue_operation: OperationId | None = None


def unrescue_instance(request: UnrescueInstance, ports: Ports) -> None:
    """Have the guest run as it did before the rescue, or be off if it was, or stay in rescue.

    There is nothing to restore, for its persistent layout was never touched. The commit point is
    that the guest is as it was; then the rescue disk and its files are deleted. A guest that other
    hands have started as it was before is left alone.
    """
    if not ports.progress.past_commit_point:
        instance = ports.instances.get(request.instance_uuid)
        instance.check_takes(PowerChange.UNRESCUE)
        _check_meant(request, instance)
        _unrescue(request, instance, ports)
    _finish(request.instance_uuid, ports)


def _unrescue(request: UnrescueInstance, instance: Instance, ports: Ports) -> None:
    with Undo(ports.progress) as undo:
        undo.earlier("power.ask_off", _run_in_rescue_again, instance, ports)
        undo.earlier("power.cut", _run_in_rescue_again, instance, ports)
        undo.earlier("power.start", ports.power.cut, instance.uuid)
        guest, ways = ports.guests.describe(instance.uuid), Ways(ports)
        check_kept(guest)
        starts = rescue_of(instance).runs and (guest.live is None or in_rescue(guest))
        if starts:
            check_startable(instance, guest, ports)
            check_root(instance, ways, ports)

        if in_rescue(guest) or _was_taken_off(ports):
            undo.by(_run_in_rescue_again, instance, ports)
            _have_off(request, guest, ports)

        if starts:
            restore_disks(instance, ways, ports)
            renew_config_drive(instance.uuid, ports)

            undo.by(ports.power.cut, instance.uuid)
            ports.power.start(instance.uuid)
        undo.commit_point()


def _check_meant(request: UnrescueInstance, instance: Instance) -> None:
    meant, found = request.rescue_operation, rescue_of(instance).operation
    if meant not in (None, found):
        message = f"instance {instance.uuid} is in the rescue of {found}, not in that of {meant}"
        raise InstanceWrongState(message)


def _was_taken_off(ports: Ports) -> bool:
    """Tell of an earlier run whether it found the guest in rescue."""
    return ports.progress.reached("power.ask_off") or ports.progress.reached("power.cut")


def _have_off(request: UnrescueInstance, guest: Guest, ports: Ports) -> None:
    if in_rescue(guest):
        have_off(guest, ports, clean=request.clean_shutdown, seconds=ports.shutdown_timeout)


def _run_in_rescue_again(instance: Instance, ports: Ports) -> None:
    """What it is booted from is looked for only here: an unrescue must not need it."""
    see_off(instance.uuid, ports)
    run_in_rescue(instance, rescue_layout(instance, ports), ports)


def _finish(uuid: InstanceId, ports: Ports) -> None:
    instance = ports.instances.get(uuid)
    delete_files(instance, ports)
    ports.instances.save(replace(instance, vm_state=_state(uuid, ports), rescue=None))


def _state(uuid: InstanceId, ports: Ports) -> VmState:
    try:
        return ports.guests.describe(uuid).vm_state
    except DomainNotFound:
        return VmState.STOPPED
