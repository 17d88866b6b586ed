"""Have an instance in rescue be again what it was before."""

from dataclasses import dataclass, replace

from worker.handlers.parts.config_drive import renew_config_drive
from worker.handlers.parts.power_off import have_off
from worker.handlers.parts.reach_volume import Ways
from worker.handlers.parts.rescue_guest import (
    delete_files,
    rescue_layout,
    rescue_of,
    run_in_rescue,
)
from worker.handlers.parts.restore_disks import check_root, check_startable, restore_disks
from worker.model.ids import InstanceId
from worker.model.instance import Instance, PowerChange
from worker.model.rescue.plan import in_rescue
from worker.ports import Ports
from worker.undo import Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class UnrescueInstance:
    """Operation: end the rescue; unless it is a ``clean_shutdown`` its guest's power is cut."""

    instance_uuid: InstanceId
    clean_shutdown: bool = True


def unrescue_instance(request: UnrescueInstance, ports: Ports) -> None:
    """Have the guest run as it did before the rescue, or be off if it was, or stay in rescue.

    There is nothing to restore, for its persistent layout was never touched. The commit point is
    that the guest is as it was; then the rescue disk and its files are deleted.
    """
    if not ports.progress.past_commit_point:
        instance = ports.instances.get(request.instance_uuid)
        instance.check_takes(PowerChange.UNRESCUE)
        _unrescue(request, instance, ports)
    _finish(request.instance_uuid, ports)


def _unrescue(request: UnrescueInstance, instance: Instance, ports: Ports) -> None:
    guest, ways = ports.guests.describe(instance.uuid), Ways(ports)
    check_startable(instance, guest, ports)
    check_root(instance, ways, ports)
    layout = rescue_layout(instance, ports)
    with Undo(ports.progress) as undo:
        undo.earlier("power.cut", run_in_rescue, instance, layout, ports)
        undo.earlier("power.start", ports.power.cut, instance.uuid)

        undo.by(run_in_rescue, instance, layout, ports)
        if in_rescue(guest):
            have_off(guest, ports, clean=request.clean_shutdown, seconds=ports.shutdown_timeout)

        if rescue_of(instance).runs:
            _run_again(instance, ways, undo, ports)
        undo.commit_point()


def _run_again(instance: Instance, ways: Ways, undo: Undo, ports: Ports) -> None:
    if ports.guests.describe(instance.uuid).live is not None:
        return
    restore_disks(instance, ways, ports)
    renew_config_drive(instance.uuid, ports)

    undo.by(ports.power.cut, instance.uuid)
    ports.power.start(instance.uuid)


def _finish(uuid: InstanceId, ports: Ports) -> None:
    instance = ports.instances.get(uuid)
    if instance.rescue is not None:
        delete_files(instance, ports)
    state = ports.guests.describe(uuid).vm_state
    ports.instances.save(replace(instance, vm_state=state, rescue=None))
