"""Have an instance in rescue be again what it was before."""

from dataclasses import dataclass, replace

from worker.errors import DomainNotFound, InstanceWrongState
from worker.handlers.parts.config_drive import renew_config_drive
from worker.handlers.parts.open_again import open_again
from worker.handlers.parts.power_off import have_off, see_off
from worker.handlers.parts.reach_volume import Ways
from worker.handlers.parts.rescue_guest import (
    cut_as_it_was,
    delete_files,
    rescue_layout,
    rescue_of,
    run_in_rescue,
    runs_as_it_was,
    went_back,
)
from worker.handlers.parts.restore_disks import (
    check_kept,
    check_root,
    check_startable,
    restore_disks,
)
from worker.model.block_device import DeviceStatus
from worker.model.guest import Guest
from worker.model.ids import BlockDeviceId, InstanceId, OperationId
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
        undo.earlier("power.ask_off", _run_in_rescue_again, instance, ports, booted=True)
        undo.earlier("power.cut", _run_in_rescue_again, instance, ports, booted=True)
        undo.earlier("power.start", _keep_started, instance, ports)
        _check_goes_forward(undo, instance, ports)
        guest, ways = ports.guests.describe(instance.uuid), Ways(ports)
        check_kept(guest)
        starts = rescue_of(instance).runs and not runs_as_it_was(guest)
        if starts:
            check_startable(instance, guest, ports)
            check_root(instance, ways, ports)
            renew_config_drive(instance.uuid, ports)

        if in_rescue(guest) or _was_taken_off(ports):
            undo.by(_run_in_rescue_again, instance, ports)
            _have_off(request, guest, ports)

        if starts:
            _restore(instance, ways, ports)

            undo.by(cut_as_it_was, instance.uuid, ports)
            ports.power.start(instance.uuid)
        elif ports.progress.reached("power.start"):
            _keep_started(instance, ports)
        undo.commit_point()


def _check_goes_forward(undo: Undo, instance: Instance, ports: Ports) -> None:
    """Raise if an earlier run has begun to start the rescue again, which only a way back does.

    To go forward again would be to cut off a rescue guest that is booting, without asking it.
    """
    if ports.progress.reached("rescues.start"):
        undo.by(_run_in_rescue_again, instance, ports, booted=True)
        undo.by(_keep_started, instance, ports)
        raise InstanceWrongState(went_back(ports))


def _restore(instance: Instance, ways: Ways, ports: Ports) -> None:
    """Have the disks where the start looks for them, and the config drive tell of no other.

    That was written while there was a guest: it is anew only if a volume was left out, or is back.
    """
    before = _statuses(instance, ports)
    restore_disks(instance, ways, ports)
    if _statuses(instance, ports) != before:
        renew_config_drive(instance.uuid, ports)


def _statuses(instance: Instance, ports: Ports) -> dict[BlockDeviceId, DeviceStatus]:
    return {row.uuid: row.status for row in ports.devices.of_instance(instance.uuid)}


def _keep_started(instance: Instance, ports: Ports) -> None:
    """Let a guest run that was started as it was, by an earlier run or by other hands.

    There is no way back into rescue from there but to cut off a guest that is booting: so the
    operation only goes forward. A start is waited for, for the guest may be half started.
    """
    guest = ports.guests.describe(instance.uuid)
    if runs_as_it_was(guest):
        open_again(guest, Ways(ports), ports)
        ports.power.start(instance.uuid)
        ports.progress.pass_commit_point()


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


def _run_in_rescue_again(instance: Instance, ports: Ports, *, booted: bool = False) -> None:
    """What it is booted from is looked for only here: an unrescue must not need it.

    The host may have been ``booted`` since an earlier run: then its volumes are connected anew.
    """
    see_off(instance.uuid, ports, until="rescues.start")
    layout = rescue_layout(instance, ports)
    guest = ports.guests.describe(instance.uuid)
    if booted and guest.live is None:
        restore_disks(instance, Ways(ports), ports)
    else:
        open_again(guest, Ways(ports), ports)
    run_in_rescue(instance, layout, ports)


def _finish(uuid: InstanceId, ports: Ports) -> None:
    instance = ports.instances.get(uuid)
    if instance.rescue is None:
        # An earlier run has come this far, and died as its secrets were taken.
        return
    delete_files(instance, ports)
    ports.instances.save(replace(instance, vm_state=_state(instance, ports), rescue=None))


def _state(instance: Instance, ports: Ports) -> VmState:
    """Return what the guest is doing, or of one that is off what it did before the rescue.

    Its host may have been booted since it was started: the look that follows each end of this
    operation brings it back, or says that it is off.
    """
    try:
        guest = ports.guests.describe(instance.uuid)
    except DomainNotFound:
        return VmState.STOPPED
    if guest.live is not None:
        return guest.vm_state
    return VmState.ACTIVE if rescue_of(instance).runs else VmState.STOPPED
