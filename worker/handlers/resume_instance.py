"""Bring a guest back that ran when its host went down."""

from dataclasses import dataclass

from worker.handlers.parts.power_on import power_on
from worker.handlers.parts.reach_volume import Ways
from worker.handlers.parts.rescue_guest import resume_in_rescue
from worker.model.ids import InstanceId
from worker.model.instance import VmState
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeInstance:
    """The worker's own operation: the host was booted, and the guest ran before."""

    instance_uuid: InstanceId


def resume_instance(request: ResumeInstance, ports: Ports) -> None:
    """Start the guest, unless what was asked before in its lane has made it stay off.

    One that was in rescue is in rescue again.
    """
    instance = ports.instances.get(request.instance_uuid)
    if instance.vm_state is VmState.RESCUED:
        resume_in_rescue(instance, Ways(ports), ports)
    elif instance.vm_state is VmState.ACTIVE or ports.progress.past_commit_point:
        power_on(instance, Ways(ports), ports)
