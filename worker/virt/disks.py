"""The disks of one guest, plugged in and out through libvirt."""

import logging
import re
from functools import partial

import libvirt

from worker.errors import DomainNotFound, GuestBusy, HypervisorRefused
from worker.model.disk import Disk
from worker.model.guest import GuestDisk, Layout
from worker.model.ids import InstanceId
from worker.ports import GuestDisks
from worker.virt.autostart import take_off_autostart
from worker.virt.connection import LibvirtConnection
from worker.virt.events import Outcome
from worker.virt.failures import (
    connection_lost,
    detach_under_way,
    ghost_in_the_way,
    nothing_to_detach,
    place_taken_by_ghost,
)
from worker.virt.guests import disk_of, live_layout, persistent_layout
from worker.virt.insides import LibvirtGuestInsides
from worker.virt.likeness import differences
from worker.virt.plugging import plug

LOG = logging.getLogger(__name__)

_KEPT_ALIAS = re.compile(r"ua-[A-Za-z0-9_-]+")
"""What libvirt keeps of the aliases it is given; it drops every other without a word."""

_NUMBERS = 8
"""How many numbers in a row may be taken by what libvirt denies."""


class LibvirtGuestDisks(GuestDisks):
    """Disks by their alias.

    An unplug asks the guest up to ``detach_attempts`` times and waits ``detach_retry_interval``
    seconds after each: a guest that boots, or is paused, answers later or never.

    QEMU itself is asked, which taints the guest, only for one in doubt, or after a refusal that
    names what libvirt denies.
    """

    def __init__(
        self,
        connection: LibvirtConnection,
        *,
        detach_retry_interval: float = 20.0,
        detach_attempts: int = 8,
    ) -> None:
        self._connection = connection
        self._interval = detach_retry_interval
        self._attempts = detach_attempts
        self._insides = LibvirtGuestInsides(
            connection,
            detach_retry_interval=detach_retry_interval,
            detach_attempts=detach_attempts,
        )
        self._sources: dict[tuple[InstanceId, str], str] = {}

    def attach(self, instance: InstanceId, disk: Disk) -> None:
        """Plug the disk in, into each of the live and persistent layouts that lacks it.

        Afterwards both have it at its address under its alias. A ghost of it is removed before.
        Raises DomainNotFound, HypervisorRefused, HypervisorUnavailable, and GuestBusy when the
        guest keeps the ghost.
        """
        if _KEPT_ALIAS.fullmatch(disk.alias) is None:
            message = f"libvirt would drop the alias {disk.alias!r}, and the disk be lost track of"
            raise HypervisorRefused(message)
        with self._connection.domain(instance) as domain:
            take_off_autostart(domain)
            lacking = _compare(_layouts(domain), disk)
            if not lacking:
                return
            refusal = self._plug(domain, instance, disk, lacking)
            # An attach of a worker that died in it may have come first, while ours had to wait:
            # then ours is refused, and the guest has the disk all the same.
            if _compare(_layouts(domain), disk):
                message = f"libvirt took disk {disk.alias} and does not show it"
                raise refusal or HypervisorRefused(message)
        self._sources.pop((instance, disk.alias), None)

    def unplug(self, instance: InstanceId, alias: str) -> None:
        """Take the disk from the running guest and wait until it has let go.

        A disk, or a guest, that is not there is fine; the persistent layout is not touched.
        Raises GuestBusy when the guest keeps the disk, HypervisorUnavailable.
        """
        self._ask_libvirt(instance, alias)
        if self._connection.in_doubt(instance):
            source = self._sources.get((instance, alias))
            self._insides.clear(instance, alias, source=source)
        self._sources.pop((instance, alias), None)

    def forget(self, instance: InstanceId, alias: str) -> None:
        """Take the disk from the persistent layout; one that is not there is fine."""
        try:
            with self._connection.domain(instance) as domain:
                _detach(domain, alias, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        except DomainNotFound:
            return

    def _plug(
        self, domain: libvirt.virDomain, instance: InstanceId, disk: Disk, lacking: int
    ) -> libvirt.libvirtError | None:
        """Plug the disk in, past its ghost; return why libvirt did not."""
        clear = partial(self._insides.clear, instance, disk.alias, source=disk.source.path)
        # Kept until it is plugged in, or out again: a libvirtd that dies in this call may leave
        # what QEMU has opened by then, and only the file says that it is this disk's.
        self._sources[instance, disk.alias] = disk.source.path
        if lacking & libvirt.VIR_DOMAIN_AFFECT_LIVE and self._connection.in_doubt(instance):
            clear()
        refusal = _refusal(domain, disk, lacking)
        for _number in range(_NUMBERS):
            if refusal is None or not self._ghostly(instance, refusal):
                break
            clear(refusal=str(refusal))
            refusal = _refusal(domain, disk, lacking)
        return refusal

    def _ghostly(self, instance: InstanceId, refusal: libvirt.libvirtError) -> bool:
        """Tell whether to try again without a ghost; whoever finds one doubts the guest."""
        ours = ghost_in_the_way(refusal)
        if (ours or place_taken_by_ghost(refusal)) and not self._connection.in_doubt(instance):
            self._connection.doubt(instance)
        return ours

    def _ask_libvirt(self, instance: InstanceId, alias: str) -> None:
        # Watched before the guest is asked: it may let go before libvirt has answered us.
        with self._connection.watch(instance, alias) as watch:
            for attempt in range(1, self._attempts + 1):
                if not self._ask(instance, alias, again=attempt > 1):
                    return
                outcome = watch.wait(self._interval)
                if outcome is Outcome.REFUSED:
                    raise GuestBusy(f"the guest refused to let go of disk {alias}")
                if outcome is Outcome.LOST:
                    self._connection.reopen(within=self._interval)
                if outcome is None:
                    LOG.warning(
                        "guest keeps disk: instance=%s alias=%s attempt=%d/%d",
                        instance,
                        alias,
                        attempt,
                        self._attempts,
                    )
        if self._plugged(instance, alias):
            message = f"the guest did not let go of disk {alias}, asked {self._attempts} times"
            raise GuestBusy(message)

    def _ask(self, instance: InstanceId, alias: str, *, again: bool) -> bool:
        """Ask the guest to let go; return whether there is something to wait for.

        The first time without a look: that would see nothing of an attach that is still under
        way, a dead worker's say. libvirt answers when that has ended.
        """
        try:
            with self._connection.domain(instance) as domain:
                if again and disk_of(live_layout(domain), alias) is None:
                    return False
                return _detach(domain, alias, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        except DomainNotFound:
            return False

    def _plugged(self, instance: InstanceId, alias: str) -> bool:
        try:
            with self._connection.domain(instance) as domain:
                return disk_of(live_layout(domain), alias) is not None
        except DomainNotFound:
            return False


def _refusal(domain: libvirt.virDomain, disk: Disk, where: int) -> libvirt.libvirtError | None:
    """Plug the disk in; return why libvirt did not. Raises if libvirt is gone."""
    try:
        plug(domain, disk, where)
    except libvirt.libvirtError as error:
        if connection_lost(error):
            raise
        return error
    return None


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


def _layouts(domain: libvirt.virDomain) -> dict[int, Layout]:
    found = {
        libvirt.VIR_DOMAIN_AFFECT_LIVE: live_layout(domain),
        libvirt.VIR_DOMAIN_AFFECT_CONFIG: persistent_layout(domain),
    }
    return {where: layout for where, layout in found.items() if layout is not None}


def _compare(layouts: dict[int, Layout], disk: Disk) -> int:
    """Return the flags of the layouts that lack the disk; raises if one has it otherwise."""
    lacking = 0
    for where, layout in layouts.items():
        shown = disk_of(layout, disk.alias)
        if shown is None:
            lacking |= where
        else:
            _check_same(shown, disk)
    return lacking


def _check_same(shown: GuestDisk, disk: Disk) -> None:
    different = differences(shown, disk)
    if different:
        message = f"the guest's disk {disk.alias} has {'; '.join(different)}"
        raise HypervisorRefused(message)
