"""Bring a guest up from its persistent layout, its disks where they are by now."""

from dataclasses import replace

from worker.handlers.parts.config_drive import renew_config_drive
from worker.handlers.parts.open_again import open_again
from worker.handlers.parts.reach_volume import Ways
from worker.handlers.parts.restore_disks import check_startable, restore_disks
from worker.model.instance import Instance, VmState
from worker.ports import Ports
from worker.undo import Undo


def power_on(instance: Instance, ways: Ways, ports: Ports) -> None:
    """Start the guest; one that runs is fine. The commit point is that it runs.

    A start that an earlier run began is only gone forward with: to cut the guest off again would
    be to cut off one that is booting. It is begun again, even of a guest that is shown to run: that
    one may be half started, and about to be ended.
    """
    with Undo(ports.progress) as undo:
        begun = ports.progress.reached("power.start")
        if begun:
            undo.commit_point()
        guest = ports.guests.describe(instance.uuid)
        state = guest.vm_state
        if guest.live is None:
            check_startable(instance, guest, ports)
            restore_disks(instance, ways, ports)
            renew_config_drive(instance.uuid, ports)

            undo.by(ports.power.cut, instance.uuid)
            ports.power.start(instance.uuid)
            state = VmState.ACTIVE
        elif begun:
            open_again(guest, ways, ports)
            ports.power.start(instance.uuid)
            state = ports.guests.describe(instance.uuid).vm_state
        undo.commit_point()
        ports.instances.save(replace(instance, vm_state=state))
