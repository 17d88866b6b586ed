"""Asking a guest to let go of a device, whatever it is, and waiting until it has.

By the alias that the device bears, ours or libvirt's own: `detachDeviceAlias` returns at once, and
takes the one that is meant where a MAC or a source would fit two.
https://libvirt.org/html/libvirt-libvirt-domain.html#virDomainDetachDeviceAlias
"""

import logging

import libvirt

from worker.errors import DomainNotFound, GuestBusy
from worker.model.identity.lookup import find_by_alias
from worker.model.ids import InstanceId
from worker.virt.failures import detach_under_way, nothing_to_detach
from worker.virt.guests import live_layout
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.libvirtd.events import Outcome

LOG = logging.getLogger(__name__)


class Unplugging:
    """Devices by their alias.

    A guest is asked up to ``attempts`` times, and waited for ``interval`` seconds after each: one
    that boots, or is paused, answers later or never.
    """

    def __init__(self, connection: LibvirtConnection, *, interval: float, attempts: int) -> None:
        self._connection = connection
        self._interval = interval
        self._attempts = attempts

    def unplug(self, instance: InstanceId, alias: str) -> None:
        """Take the device from the running guest and wait until it has let go.

        A device, or a guest, that is not there is fine; the persistent layout is not touched.
        Raises GuestBusy when the guest keeps it, HypervisorUnavailable.
        """
        # Watched before the guest is asked: it may let go before libvirt has answered us.
        with self._connection.watch(instance, alias) as watch:
            for attempt in range(1, self._attempts + 1):
                if not self._ask(instance, alias, again=attempt > 1):
                    return
                outcome = watch.wait(self._interval)
                if outcome is Outcome.REFUSED:
                    raise GuestBusy(f"the guest refused to let go of device {alias}")
                if outcome is Outcome.LOST:
                    self._connection.reopen(within=self._interval)
                if outcome is None:
                    LOG.warning(
                        "guest keeps device: instance=%s alias=%s attempt=%d/%d",
                        instance,
                        alias,
                        attempt,
                        self._attempts,
                    )
        if self._plugged(instance, alias):
            message = f"the guest did not let go of device {alias}, asked {self._attempts} times"
            raise GuestBusy(message)

    def forget(self, instance: InstanceId, alias: str) -> None:
        """Take the device from the persistent layout; one that is not there is fine."""
        try:
            with self._connection.domain(instance) as domain:
                _detach(domain, alias, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        except DomainNotFound:
            return

    def _ask(self, instance: InstanceId, alias: str, *, again: bool) -> bool:
        """Ask the guest to let go; return whether there is something to wait for.

        The first time without a look: that would see nothing of an attach that is still under
        way, a dead worker's say. libvirt answers when that has ended.
        """
        try:
            with self._connection.domain(instance) as domain:
                if again and find_by_alias(live_layout(domain), alias) is None:
                    return False
                return _detach(domain, alias, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        except DomainNotFound:
            return False

    def _plugged(self, instance: InstanceId, alias: str) -> bool:
        try:
            with self._connection.domain(instance) as domain:
                return find_by_alias(live_layout(domain), alias) is not None
        except DomainNotFound:
            return False


def _detach(domain: libvirt.virDomain, alias: str, where: int) -> bool:
    """Ask for the removal from one layout; return False if there is nothing to remove.

    Never from both in one call: libvirt refuses that as a whole when one of them lacks the alias,
    and the persistent layout has to stay until the guest has let go.
    """
    try:
        domain.detachDeviceAlias(alias, where)
    except libvirt.libvirtError as error:
        if detach_under_way(error):
            return True
        if nothing_to_detach(error):
            return False
        raise
    return True
