"""Keep ``vm_state`` true when a guest is stopped, started or paused by other hands."""

from dataclasses import dataclass, replace

from worker.errors import DomainNotFound
from worker.model.ids import InstanceId
from worker.model.instance import VmState
from worker.model.update import Event, Update
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncPowerState:
    """The worker's own operation: read what the guest is doing and keep it."""

    instance_uuid: InstanceId


FOLLOWED = (VmState.ACTIVE, VmState.PAUSED, VmState.STOPPED)
"""The states that mirror the hypervisor; the others are the worker's own knowledge."""


def sync_power_state(request: SyncPowerState, ports: Ports) -> None:
    """Read what the guest is doing; keep it and tell it if it changed."""
    instance = ports.instances.get(request.instance_uuid)
    if instance.vm_state not in FOLLOWED:
        return
    try:
        found = ports.guests.describe(instance.uuid).vm_state
    except DomainNotFound:
        found = VmState.STOPPED
    if found is not instance.vm_state:
        ports.instances.save(replace(instance, vm_state=found))
        ports.updates.tell(Update(event=Event.POWER, instance=instance.uuid))
