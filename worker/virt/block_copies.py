"""Disks of running guests copied elsewhere, by QEMU, which goes on whatever becomes of us.

https://libvirt.org/html/libvirt-libvirt-domain.html#virDomainBlockCopy; on a persistent domain
libvirt wants the copy to be a transient job, and writes the new source into both layouts.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

import libvirt
from lxml import etree

from worker.errors import DomainNotFound, HypervisorRefused, HypervisorUnavailable
from worker.model.block_copy import BlockCopy
from worker.model.disk import Disk
from worker.model.ids import InstanceId
from worker.ports import BlockCopies
from worker.virt.both_layouts import refusal_of
from worker.virt.failures import no_block_job
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.qemu.insides import LibvirtGuestInsides
from worker.virt.qemu.jobs import close, end_lost_copies, show_whole, went_over
from worker.virt.qemu.monitor import QmpRefused
from worker.virt.xml.disk import disk_element, disk_tree
from worker.virt.xml.mirror import READY, Mirrored, read_mirrored, sliced, unsliced

LOG = logging.getLogger(__name__)

T = TypeVar("T")

_FLAGS = libvirt.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT | libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
_PIVOT = libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT
_WHOLE = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
_WHOLLY_COPIED = 100
_POLL = 0.1
_SEEN_WITHIN = 2.0
"""Seconds, ample, that libvirt takes to see an end, unless it never will."""

_NO_ALIAS = ""
"""Of what QEMU has opened for a copy: no device bears it."""


class LibvirtBlockCopies(BlockCopies):
    """Copies by the alias of their disk.

    QEMU copies only between two of one size: onto a larger target it is shown as much of that as
    it needs, and all of it when its guest has gone over. Only for that, and for a copy that a
    libvirtd has begun and lost, QEMU itself is asked, which taints the guest.
    """

    def __init__(
        self,
        connection: LibvirtConnection,
        *,
        rate: Callable[[], int] = lambda: 0,
        ends_within: float = 30.0,
    ) -> None:
        """``rate`` says how many bytes a second a copy may take; 0 is as many as it can.

        libvirt gets ``ends_within`` seconds to see the end of a copy that it was told to end.
        """
        self._connection = connection
        self._rate = rate
        self._ends_within = ends_within
        self._insides = LibvirtGuestInsides(connection)

    def begin(self, instance: InstanceId, disk: Disk, size: int) -> None:
        """Begin to copy what the guest has as ``disk`` onto the disk's source, of so many bytes.

        One that is under way, or whose guest has gone over to it, is fine. Raises DomainNotFound,
        HypervisorRefused, HypervisorUnavailable.
        """
        target = disk.source.name
        with self._connection.domain(instance) as domain:
            had = _had(domain, disk.alias)
            if target in (had.source, had.mirror):
                return
            copy = partial(_copy, domain, had.target, disk, size, self._rate())
            refusal = refusal_of(copy)
            if refusal is not None and self._lost(domain, instance, had.target, target):
                refusal = refusal_of(copy)
            if refusal is not None and _had(domain, disk.alias).mirror != target:
                raise refusal

    def look(self, instance: InstanceId, alias: str) -> BlockCopy:
        """Return how the disk stands now; one that is not there has neither source nor target."""
        try:
            with self._connection.domain(instance) as domain:
                return _look(domain, alias, self._ended(domain, alias))
        except DomainNotFound:
            return BlockCopy()

    def pivot(self, instance: InstanceId, alias: str, target: str) -> None:
        """Have the guest go over to the copy, which is to be ready.

        One that has gone over is fine. Raises DomainNotFound, HypervisorRefused,
        HypervisorUnavailable.
        """
        with self._connection.domain(instance) as domain:
            refusal = _end(domain, alias, target, _PIVOT)
            shown = self._ended(domain, alias)
            if shown is None or shown.source != target:
                message = f"the guest did not go over to {target} as {alias}"
                raise refusal or HypervisorRefused(message)

    def abort(self, instance: InstanceId, alias: str, target: str) -> None:
        """End the copy to that target; none is fine, and so is one that is over.

        Raises HypervisorRefused for one that goes on all the same, HypervisorUnavailable.
        """
        try:
            with self._connection.domain(instance) as domain:
                refusal = _end(domain, alias, target, 0)
                shown = self._ended(domain, alias)
                if shown is not None and shown.mirror == target:
                    message = f"the copy of {alias} to {target} goes on"
                    raise refusal or HypervisorRefused(message)
                if shown is not None and shown.source != target:
                    self._lost(domain, instance, shown.target, target)
        except DomainNotFound:
            return

    def settle(self, instance: InstanceId, disk: Disk, size: int) -> None:
        """Have both layouts, and the guest, have all of the disk that it has gone over to.

        Again is fine. Raises HypervisorRefused, HypervisorUnavailable.
        """
        try:
            with self._connection.domain(instance) as domain:
                _keep_whole(domain, disk)
                shown = _mirrored(domain, disk.alias)
                if shown is not None and shown.mirror is None and not disk.encrypted:
                    _grow(domain, disk.alias, shown, size)
        except DomainNotFound:
            return

    def _ended(self, domain: libvirt.virDomain, alias: str) -> Mirrored | None:
        """Return the disk once libvirt has seen the end that it was told of.

        One that died just then, when QEMU had ended the copy, waits for that end in vain: then
        QEMU itself says what the guest has.
        """
        begun = time.monotonic()
        while (shown := _mirrored(domain, alias)) is not None and shown.ending:
            waited = time.monotonic() - begun
            if waited > _SEEN_WITHIN and not domain.blockJobInfo(shown.target):
                return self._by_qemu(domain, alias, shown)
            if waited > self._ends_within:
                message = f"the copy of {alias} is being ended, and does not end"
                raise HypervisorUnavailable(message)
            time.sleep(_POLL)
        return shown

    def _by_qemu(self, domain: libvirt.virDomain, alias: str, shown: Mirrored) -> Mirrored:
        LOG.warning("libvirt missed the end of a copy: domain=%s alias=%s", domain.name(), alias)
        self._connection.doubt(InstanceId(domain.UUIDString()))
        source, target = shown.source or "", shown.mirror or ""
        over = _asked(partial(went_over, domain, alias, source, target))
        _asked(partial(close, domain, shown.numbers[0 if over else 1]))
        return replace(shown, source=target if over else source, mirror=None, ready=None)

    def _lost(
        self, domain: libvirt.virDomain, instance: InstanceId, device: str, target: str
    ) -> bool:
        """End a copy that QEMU has and libvirt denies; return whether there was anything."""
        if not self._connection.in_doubt(instance):
            return False
        ended = _asked(lambda: end_lost_copies(domain, device))
        return self._insides.clear(instance, _NO_ALIAS, source=target) or ended


def _mirrored(domain: libvirt.virDomain, alias: str) -> Mirrored | None:
    return read_mirrored(domain.XMLDesc(0), alias) if domain.isActive() else None


def _had(domain: libvirt.virDomain, alias: str) -> Mirrored:
    shown = _mirrored(domain, alias)
    if shown is None:
        message = f"domain {domain.name()} does not run, or has no disk {alias}"
        raise HypervisorRefused(message)
    return shown


def _look(domain: libvirt.virDomain, alias: str, live: Mirrored | None) -> BlockCopy:
    shown = live or read_mirrored(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), alias)
    if shown is None or shown.mirror is None:
        return BlockCopy(source=None if shown is None else shown.source)
    ready = shown.ready == READY
    percent = _WHOLLY_COPIED if ready else _percent(domain, shown)
    return BlockCopy(source=shown.source, target=shown.mirror, percent=percent, ready=ready)


def _percent(domain: libvirt.virDomain, shown: Mirrored) -> int:
    """One that is not ready has not come to the end, whatever it counts."""
    job = domain.blockJobInfo(shown.target)
    return min(_WHOLLY_COPIED - 1, job["cur"] * 100 // job["end"]) if job.get("end") else 0


def _copy(domain: libvirt.virDomain, device: str, disk: Disk, size: int, rate: int) -> None:
    element, room = disk_tree(disk), domain.blockInfo(device)[0]
    if room < size and not disk.encrypted:
        element = sliced(element, room)
    limits = {libvirt.VIR_DOMAIN_BLOCK_COPY_BANDWIDTH: rate} if rate else {}
    domain.blockCopy(device, etree.tostring(element, encoding="unicode"), limits, _FLAGS)


def _end(
    domain: libvirt.virDomain, alias: str, target: str, how: int
) -> libvirt.libvirtError | None:
    """Tell libvirt to end the copy to that target, if there is one; return why it did not."""
    shown = _mirrored(domain, alias)
    if shown is None or shown.mirror != target or shown.ending:
        return None
    refusal = refusal_of(lambda: domain.blockJobAbort(shown.target, how))
    return None if refusal is not None and no_block_job(refusal) else refusal


def _keep_whole(domain: libvirt.virDomain, disk: Disk) -> None:
    """Libvirt lets the persistent layout go over with the guest, if it sees that go."""
    if not domain.isPersistent():
        return
    text = domain.XMLDesc(_WHOLE)
    kept = read_mirrored(text, disk.alias)
    if kept is not None and kept.source != disk.source.name:
        domain.updateDeviceFlags(disk_element(disk), libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    elif (whole := unsliced(text, disk.alias)) != text:
        domain.connect().defineXML(whole)


def _grow(domain: libvirt.virDomain, alias: str, shown: Mirrored, size: int) -> None:
    if domain.blockInfo(shown.target)[0] >= size:
        return
    if shown.sliced:
        _asked(lambda: show_whole(domain, alias, shown.discard))
    domain.blockResize(shown.target, size, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)


def _asked(ask: Callable[[], T]) -> T:
    try:
        return ask()
    except QmpRefused as error:
        raise HypervisorRefused(f"QEMU refused: {error}") from error
