"""Stop an instance."""

from dataclasses import dataclass, replace

from worker.errors import DomainNotFound, InstanceWrongState, RequestMalformed
from worker.handlers.parts.power_off import power_off
from worker.model.guest import Guest
from worker.model.ids import InstanceId
from worker.model.instance import PowerChange, VmState
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class StopInstance:
    """Operation: have the guest off; ``timeout`` is in seconds, null for the host's default.

    With ``clean_shutdown`` it is asked first, and its power is cut after that time.
    """

    instance_uuid: InstanceId
    clean_shutdown: bool = True
    timeout: int | None = None


def stop_instance(request: StopInstance, ports: Ports) -> None:
    """Have the guest off; one that is off, or gone, is fine. Its volumes stay connected."""
    if request.timeout is not None and request.timeout < 0:
        message = "timeout must not be negative"
        raise RequestMalformed(message)
    instance = ports.instances.get(request.instance_uuid)
    if not ports.progress.past_commit_point:
        instance.check_takes(PowerChange.STOP)
    guest = _guest(instance.uuid, ports)
    seconds = ports.shutdown_timeout if request.timeout is None else float(request.timeout)
    if guest is not None:
        power_off(guest, ports, clean=request.clean_shutdown, seconds=seconds)
    ports.instances.save(replace(instance, vm_state=VmState.STOPPED))


def _guest(instance: InstanceId, ports: Ports) -> Guest | None:
    try:
        guest = ports.guests.describe(instance)
    except DomainNotFound:
        return None
    if guest.persistent is None:
        message = f"the hypervisor forgets domain {guest.name} when it is off"
        raise InstanceWrongState(message)
    return guest
