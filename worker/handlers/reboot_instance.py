"""Reboot an instance."""

from dataclasses import dataclass

from worker.handlers.parts.power_off import power_off
from worker.handlers.parts.power_on import power_on
from worker.handlers.parts.reach_volume import Ways
from worker.handlers.parts.restore_disks import check_root, check_startable
from worker.model.ids import InstanceId
from worker.model.instance import PowerChange
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class RebootInstance:
    """Operation: have the guest off and start it anew; with ``hard`` it is not asked."""

    instance_uuid: InstanceId
    hard: bool = False


def reboot_instance(request: RebootInstance, ports: Ports) -> None:
    """Have the guest off, then start it as ``start_instance`` does.

    What a start would fail at is found before the guest is touched. From the moment that it is
    asked, or cut, the operation only goes forward. A start that an earlier run began says that
    the guest was off.
    """
    instance = ports.instances.get(request.instance_uuid)
    if not ports.progress.past_commit_point:
        instance.check_takes(PowerChange.HARD_REBOOT if request.hard else PowerChange.SOFT_REBOOT)
    ways = Ways(ports)
    if not ports.progress.reached("power.start"):
        guest = ports.guests.describe(instance.uuid)
        check_startable(instance, guest, ports)
        check_root(instance, ways, ports)
        power_off(guest, ports, clean=not request.hard, seconds=ports.shutdown_timeout)
    power_on(instance, ways, ports)
