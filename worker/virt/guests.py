"""The guests of libvirt, as the core sees them."""

from contextlib import suppress

import libvirt

from worker.errors import DomainNotFound
from worker.model.guest import Guest, Layout
from worker.model.ids import InstanceId, is_uuid
from worker.model.instance import VmState
from worker.ports import Guests
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.power import STARTING
from worker.virt.xml.layout import read_layout

_STATES = {
    libvirt.VIR_DOMAIN_PAUSED: VmState.PAUSED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: VmState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTOFF: VmState.STOPPED,
    libvirt.VIR_DOMAIN_CRASHED: VmState.STOPPED,
}
"""Every other state of libvirt's is one in which the guest runs."""


class LibvirtGuests(Guests):
    """Guests by the uuid or name of their domain."""

    def __init__(self, connection: LibvirtConnection) -> None:
        self._connection = connection

    def describe(self, instance: InstanceId) -> Guest:
        """Return the guest as it is now; raises DomainNotFound, HypervisorUnavailable."""
        with self._connection.domain(instance) as domain:
            return _guest(domain)

    def find(self, name_or_uuid: str) -> Guest:
        """Return the guest of that name or uuid; raises DomainNotFound, HypervisorUnavailable."""
        # A domain may be named like a uuid, its own or another's: the uuid goes first.
        if is_uuid(name_or_uuid):
            with suppress(DomainNotFound):
                return self.describe(InstanceId(name_or_uuid))
        with self._connection.use() as connection:
            return _guest(connection.lookupByName(name_or_uuid))


def live_layout(domain: libvirt.virDomain) -> Layout | None:
    """Read the layout of the running guest; None while there is none."""
    return read_layout(domain.XMLDesc(0)) if domain.isActive() else None


def persistent_layout(domain: libvirt.virDomain) -> Layout | None:
    """Read the layout of the next start; None for a transient domain."""
    if not domain.isPersistent():
        return None
    return read_layout(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))


def state_of(state: int, reason: int) -> VmState:
    """Return our word for a domain's state; nobody has paused one that is being started."""
    if (state, reason) == STARTING:
        return VmState.ACTIVE
    return _STATES.get(state, VmState.ACTIVE)


def _guest(domain: libvirt.virDomain) -> Guest:
    live = live_layout(domain)
    persistent = persistent_layout(domain)
    state, reason = domain.state()
    return Guest(
        instance=InstanceId(domain.UUIDString()),
        name=domain.name(),
        vm_state=state_of(state, reason),
        live=live,
        persistent=persistent,
    )
