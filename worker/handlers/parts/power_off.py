"""Take a guest off, cleanly if it will."""

from worker.model.guest import Guest
from worker.model.ids import InstanceId
from worker.model.instance import VmState
from worker.ports import Ports


def power_off(guest: Guest, ports: Ports, *, clean: bool, seconds: float) -> None:
    """Have the guest off: asked once if ``clean``, its power cut if it runs on after that time.

    There is no way back to a guest that was asked or cut, so this is a commit point.
    """
    if guest.live is not None:
        ports.progress.pass_commit_point()
        have_off(guest, ports, clean=clean, seconds=seconds)


def have_off(guest: Guest, ports: Ports, *, clean: bool, seconds: float) -> None:
    """Do the same for one that is started again if what follows fails.

    It is asked at most once, however often the operation is run: the second time might be another
    guest's, started in between. One that is paused hears nothing, and is not asked.
    """
    if not (clean and _asked_off(guest, ports, seconds)):
        ports.power.cut(guest.instance)


def see_off(instance: InstanceId, ports: Ports, *, until: str) -> None:
    """Wait for a guest that this operation has asked off: it may be about to go.

    One that hears nothing runs on. Until then it cannot be told whether to start it again by the
    step ``until``; one that was so started is another guest, and was not asked.
    """
    if ports.progress.reached("power.ask_off") and not ports.progress.reached(until):
        ports.power.wait_off(instance, ports.shutdown_timeout)


def _asked_off(guest: Guest, ports: Ports, seconds: float) -> bool:
    if guest.vm_state is VmState.PAUSED:
        return False
    if not ports.progress.reached("power.ask_off"):
        ports.power.ask_off(guest.instance)
    return ports.power.wait_off(guest.instance, seconds)
