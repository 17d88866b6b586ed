"""The disks of one guest, plugged in and out through libvirt."""

from functools import partial

import libvirt

from worker.errors import DomainNotFound, HypervisorRefused
from worker.model.disk import Disk
from worker.model.guest import Layout
from worker.model.identity.lookup import disk_by_alias
from worker.model.ids import InstanceId
from worker.ports import GuestDisks
from worker.virt.autostart import take_off_autostart
from worker.virt.both_layouts import check_kept, lacking, refusal_of
from worker.virt.failures import (
    ghost_in_the_way,
    never_resized,
    not_running,
    place_taken_by_ghost,
)
from worker.virt.guests import live_layout
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.likeness import differences
from worker.virt.plugging import plug
from worker.virt.qemu.insides import LibvirtGuestInsides
from worker.virt.unplugging import Unplugging

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
        self._unplugging = Unplugging(
            connection, interval=detach_retry_interval, attempts=detach_attempts
        )
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
        check_kept(disk.alias)
        has = partial(_has, disk=disk)
        with self._connection.domain(instance) as domain:
            take_off_autostart(domain)
            where = lacking(domain, has)
            if not where:
                return
            refusal = self._plug(domain, instance, disk, where)
            # An attach of a worker that died in it may have come first, while ours had to wait:
            # then ours is refused, and the guest has the disk all the same.
            if lacking(domain, has):
                message = f"libvirt took disk {disk.alias} and does not show it"
                raise refusal or HypervisorRefused(message)
        self._sources.pop((instance, disk.alias), None)

    def unplug(self, instance: InstanceId, alias: str) -> None:
        """Take the disk from the running guest and wait until it has let go.

        A disk, or a guest, that is not there is fine; the persistent layout is not touched. The
        alias may be the hypervisor's own. Raises GuestBusy when the guest keeps the disk,
        HypervisorUnavailable.
        """
        self._unplugging.unplug(instance, alias)
        if self._connection.in_doubt(instance):
            source = self._sources.get((instance, alias))
            self._insides.clear(instance, alias, source=source)
        self._sources.pop((instance, alias), None)

    def forget(self, instance: InstanceId, alias: str) -> None:
        """Take the disk from the persistent layout; one that is not there is fine."""
        self._unplugging.forget(instance, alias)

    def resize(self, instance: InstanceId, alias: str, size: int) -> None:
        """Have the running guest see so many bytes of the disk, which are there already.

        The alias may be the hypervisor's own. A disk, or a guest, that is not there, or off, has
        nothing to be told, and one that sees more keeps it. Of one that it has read-only it hears
        at its next start. Raises HypervisorRefused, HypervisorUnavailable.
        """
        try:
            with self._connection.domain(instance) as domain:
                _grow(domain, alias, size)
        except DomainNotFound:
            return

    def _plug(
        self, domain: libvirt.virDomain, instance: InstanceId, disk: Disk, where: int
    ) -> libvirt.libvirtError | None:
        """Plug the disk in, past its ghost; return why libvirt did not."""
        clear = partial(self._insides.clear, instance, disk.alias, source=disk.source.name)
        # Kept until it is plugged in, or out again: a libvirtd that dies in this call may leave
        # what QEMU has opened by then, and only the file says that it is this disk's.
        self._sources[instance, disk.alias] = disk.source.name
        attempt = partial(plug, domain, disk, where)
        if where & libvirt.VIR_DOMAIN_AFFECT_LIVE and self._connection.in_doubt(instance):
            clear()
        refusal = refusal_of(attempt)
        for _number in range(_NUMBERS):
            if refusal is None or not self._ghostly(instance, refusal):
                break
            clear(refusal=str(refusal))
            refusal = refusal_of(attempt)
        return refusal

    def _ghostly(self, instance: InstanceId, refusal: libvirt.libvirtError) -> bool:
        """Tell whether to try again without a ghost; whoever finds one doubts the guest."""
        ours = ghost_in_the_way(refusal)
        if (ours or place_taken_by_ghost(refusal)) and not self._connection.in_doubt(instance):
            self._connection.doubt(instance)
        return ours


def _grow(domain: libvirt.virDomain, alias: str, size: int) -> None:
    """Libvirt finds a disk by its name in the domain; by an alias it finds none."""
    disk = disk_by_alias(live_layout(domain), alias)
    if disk is None:
        return
    try:
        # The first number is what the guest sees; of an encrypted disk that is less than there is.
        if domain.blockInfo(disk.target)[0] <= size:
            domain.blockResize(disk.target, size, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
    except libvirt.libvirtError as error:
        # It went off since, or has it read-only: its next start sees what is there.
        if not not_running(error) and not never_resized(error):
            raise


def _has(layout: Layout, disk: Disk) -> bool:
    """Tell whether the layout has the disk; raises HypervisorRefused if it has it otherwise."""
    shown = disk_by_alias(layout, disk.alias)
    different = [] if shown is None else differences(shown, disk)
    if different:
        message = f"the guest's disk {disk.alias} has {'; '.join(different)}"
        raise HypervisorRefused(message)
    return shown is not None
