"""Boot an instance from a transient disk, its own disks where they always are."""

from dataclasses import dataclass, replace

from worker.errors import NotRescuable
from worker.handlers.parts.config_drive import write_rescue_drive
from worker.handlers.parts.open_again import open_again
from worker.handlers.parts.plan_instance import operation_of
from worker.handlers.parts.plan_rescue import (
    check_own_disks,
    check_password_can_be_told,
    rescuable,
    sketched,
    with_content,
)
from worker.handlers.parts.power_off import have_off, see_off
from worker.handlers.parts.reach_volume import Ways
from worker.handlers.parts.rescue_guest import (
    cut_in_rescue,
    delete_files,
    make_disk,
    rescue_layout,
    rescue_of,
    run_in_rescue,
    went_back,
)
from worker.handlers.parts.restore_disks import restore_disks
from worker.handlers.sync_power_state import FOLLOWED
from worker.model.guest import Guest
from worker.model.ids import ImageId, InstanceId
from worker.model.instance import Instance, VmState
from worker.model.rescue.plan import in_rescue
from worker.model.secret import Secret
from worker.ports import Ports
from worker.undo import Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class RescueInstance:
    """Operation: boot from ``rescue_image_ref``, or else the host's rescue image, or its own.

    The ``rescue_password`` is put on the config drive that the guest has in rescue. Unless it is a
    ``clean_shutdown`` the guest's power is cut.
    """

    instance_uuid: InstanceId
    rescue_image_ref: ImageId | None = None
    rescue_password: Secret | None = None
    clean_shutdown: bool = True


def rescue_instance(request: RescueInstance, ports: Ports) -> None:
    """Have the guest run in rescue, or as it did before.

    All that can be refused is refused before its power is touched, and all that takes long is made.
    The commit point is that the guest runs in rescue.
    """
    if not ports.progress.past_commit_point:
        instance = _begun(request, ports) or _decided(request, ports)
        _rescue(request, instance, ports)
    _finish(request.instance_uuid, ports)


def _begun(request: RescueInstance, ports: Ports) -> Instance | None:
    """Return the instance if an earlier run of this operation has decided."""
    instance = ports.instances.get(request.instance_uuid)
    mine = instance.rescue is not None and instance.rescue.operation == operation_of(ports).id
    return instance if mine else None


def _decided(request: RescueInstance, ports: Ports) -> Instance:
    instance = rescuable(request.instance_uuid, ports)
    check_own_disks(instance, ports)
    if request.rescue_password is not None:
        check_password_can_be_told(instance, ports)
    sketch = sketched(instance, request.rescue_image_ref, operation_of(ports).id, ports)
    rescue = replace(with_content(*sketch, ports), config_drive=request.rescue_password is not None)
    return replace(instance, rescue=rescue)


def _rescue(request: RescueInstance, instance: Instance, ports: Ports) -> None:
    with Undo(ports.progress) as undo:
        undo.earlier("power.ask_off", _run_again, instance, ports)
        undo.earlier("power.cut", _run_again, instance, ports)
        undo.earlier("rescues.start", cut_in_rescue, instance.uuid, ports)

        undo.by(_forget, instance.uuid, ports)
        ports.instances.save(instance)

        undo.by(delete_files, instance, ports)
        _check_goes_forward(undo, instance, ports)
        make_disk(instance, ports)
        write_rescue_drive(instance, _password(request), ports)
        layout = rescue_layout(instance, ports)

        undo.by(_run_again, instance, ports)
        _have_ready(request, ports.guests.describe(instance.uuid), instance, ports)

        undo.by(cut_in_rescue, instance.uuid, ports)
        run_in_rescue(instance, layout, ports)
        undo.commit_point()


def _check_goes_forward(undo: Undo, instance: Instance, ports: Ports) -> None:
    """Raise if an earlier run has begun to start the guest as it was, which only a way back does.

    To go forward again would be to cut off a guest that is booting.
    """
    if ports.progress.reached("power.start"):
        undo.by(_run_again, instance, ports)
        raise NotRescuable(went_back(ports))


def _have_ready(request: RescueInstance, guest: Guest, instance: Instance, ports: Ports) -> None:
    """Have a guest that runs off; connect the volumes of one that does not, each of them.

    A guest that has just run has them; the host of one that is off may have been booted since.
    """
    if guest.live is None:
        restore_disks(instance, Ways(ports), ports, without_missing=False)
    elif not in_rescue(guest):
        open_again(guest, Ways(ports), ports)
        have_off(guest, ports, clean=request.clean_shutdown, seconds=ports.shutdown_timeout)


def _run_again(instance: Instance, ports: Ports) -> None:
    """Bring the guest up as it was, if it ran; its host may have been booted since.

    A start that was begun is begun again, even of a guest that is shown to run: that one may be
    half started, and about to be ended. One that is in rescue still does not run as it was.
    """
    if not rescue_of(instance).runs:
        return
    begun = ports.progress.reached("power.start")
    see_off(instance.uuid, ports, until="power.start")
    cut_in_rescue(instance.uuid, ports)
    guest = ports.guests.describe(instance.uuid)
    state = guest.vm_state
    if guest.live is None:
        restore_disks(instance, Ways(ports), ports)
        ports.power.start(instance.uuid)
        state = VmState.ACTIVE
    elif begun:
        open_again(guest, Ways(ports), ports)
        ports.power.start(instance.uuid)
        state = ports.guests.describe(instance.uuid).vm_state
    if guest.live is None or begun:
        _follow(instance.uuid, state, ports)


def _follow(uuid: InstanceId, state: VmState, ports: Ports) -> None:
    """Have the row say what the guest does: while this was stuck, it may have been seen off."""
    instance = ports.instances.get(uuid)
    if instance.vm_state in FOLLOWED:
        ports.instances.save(replace(instance, vm_state=state))


def _forget(uuid: InstanceId, ports: Ports) -> None:
    ports.instances.save(replace(ports.instances.get(uuid), rescue=None))


def _password(request: RescueInstance) -> str | None:
    return None if request.rescue_password is None else request.rescue_password.reveal()


def _finish(uuid: InstanceId, ports: Ports) -> None:
    instance = ports.instances.get(uuid)
    rescue = replace(rescue_of(instance), since=ports.clock.now())
    ports.instances.save(replace(instance, vm_state=VmState.RESCUED, rescue=rescue))
