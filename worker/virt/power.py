"""The switches of libvirt's machines."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress

import libvirt

from worker.errors import DomainNotFound, HypervisorRefused, HypervisorUnavailable
from worker.model.ids import InstanceId
from worker.ports import Power
from worker.virt.autostart import take_off_autostart
from worker.virt.failures import connection_lost, not_running
from worker.virt.libvirtd.connection import LibvirtConnection

LOG = logging.getLogger(__name__)

_POLL = 0.2
STARTING = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP)
"""State and reason of a domain for which libvirt is starting QEMU."""


class LibvirtPower(Power):
    """Switches by the uuid of the domain."""

    def __init__(self, connection: LibvirtConnection) -> None:
        self._connection = connection

    def start(self, instance: InstanceId) -> None:
        """Start the guest from its persistent layout; one that runs, since when ever, is fine.

        Raises DomainNotFound, HypervisorRefused, HypervisorUnavailable.
        """
        with self._connection.domain(instance) as domain:
            take_off_autostart(domain)
            if is_up(domain):
                return
            check_no_saved_state(domain)
            try:
                domain.create()
            except libvirt.libvirtError as error:
                # The start of a worker that died in it may have come first.
                if connection_lost(error) or not is_up(domain):
                    raise

    def ask_off(self, instance: InstanceId) -> None:
        """Press the guest's power button, and return at once; one that is off is fine.

        Its agent is not asked, even if it has one: libvirt would wait for the answer.
        """
        self._switch_off(instance, _press)

    def wait_off(self, instance: InstanceId, seconds: float) -> bool:
        """Wait until the guest is off; return whether it is. One that is not there is off.

        A libvirtd that is away meanwhile is waited for as well; HypervisorUnavailable is raised
        if it still is at the end.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            with suppress(HypervisorUnavailable):
                if not self._runs(instance):
                    return True
            time.sleep(min(_POLL, left))
        return not self._runs(instance)

    def cut(self, instance: InstanceId) -> None:
        """Take the power from the guest; one that is off, or not there, is fine.

        QEMU is asked to end before it is killed, so that it writes what it holds of its disks.
        """
        self._switch_off(instance, _destroy)

    def _runs(self, instance: InstanceId) -> bool:
        try:
            with self._connection.domain(instance) as domain:
                return bool(domain.isActive())
        except DomainNotFound:
            return False

    def _switch_off(
        self, instance: InstanceId, switch: Callable[[libvirt.virDomain], object]
    ) -> None:
        """Throw the switch of a guest that runs; one that went off meanwhile is no error."""
        with suppress(DomainNotFound), self._connection.domain(instance) as domain:
            try:
                if domain.isActive():
                    switch(domain)
            except libvirt.libvirtError as error:
                if not not_running(error) or domain.isActive():
                    raise


def is_up(domain: libvirt.virDomain) -> bool:
    """Tell whether the guest runs, once a start of it that is under way has ended.

    A libvirtd that comes back ends the guest in whose start its predecessor died; until it has, it
    shows it as one that runs.
    """
    while tuple(domain.state()) == STARTING:
        time.sleep(_POLL)
    return bool(domain.isActive())


def check_no_saved_state(domain: libvirt.virDomain) -> None:
    """What libvirt saved names the disks where they were then: another volume's by now, maybe."""
    if domain.hasManagedSaveImage():
        message = (
            f"domain {domain.name()} has a saved state, from which libvirt would start it with its"
            " disks as they were then; 'virsh managedsave-remove' it, or 'virsh start' it yourself"
        )
        raise HypervisorRefused(message)


def _press(domain: libvirt.virDomain) -> None:
    domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)


def _destroy(domain: libvirt.virDomain) -> None:
    refusal = _graceful_refusal(domain)
    if refusal is not None:
        LOG.warning("guest is killed: instance=%s reason=%r", domain.UUIDString(), refusal)
        domain.destroy()


def _graceful_refusal(domain: libvirt.virDomain) -> str | None:
    """Let QEMU end itself; return why it does not."""
    try:
        domain.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_GRACEFUL)
    except libvirt.libvirtError as error:
        if connection_lost(error) or not_running(error):
            raise
        return str(error)
    return None
