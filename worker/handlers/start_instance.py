"""Start an instance that is off."""

from dataclasses import dataclass

from worker.handlers.parts.power_on import power_on
from worker.handlers.parts.reach_volume import Ways
from worker.model.ids import InstanceId
from worker.model.instance import PowerChange
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class StartInstance:
    """Operation: start the guest, its volumes connected anew."""

    instance_uuid: InstanceId


def start_instance(request: StartInstance, ports: Ports) -> None:
    """Have the guest run; one that does is fine.

    A volume that cannot be reached does not keep it down, unless it boots from it.
    """
    instance = ports.instances.get(request.instance_uuid)
    if not ports.progress.past_commit_point:
        instance.check_takes(PowerChange.START)
    power_on(instance, Ways(ports), ports)
