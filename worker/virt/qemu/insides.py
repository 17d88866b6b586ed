"""QEMU itself, seen past libvirt."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

import libvirt

from worker.errors import DomainNotFound, GuestBusy, HypervisorRefused
from worker.model.guest import InnerDisk
from worker.model.identity.alias import is_ours
from worker.model.identity.lookup import disk_by_alias
from worker.model.ids import InstanceId
from worker.ports import GuestInsides
from worker.virt.failures import not_running
from worker.virt.guests import live_layout
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.qemu.chains import Answers, Chain, devices, numbers_in
from worker.virt.qemu.monitor import QmpRefused, ask
from worker.virt.xml.layout import source_numbers

LOG = logging.getLogger(__name__)

T = TypeVar("T")

_NONE: tuple[Chain, ...] = ()
_POLL = 0.1
_CLOSINGS = 20
"""How often a node that is in use is tried again, ``_POLL`` seconds apart."""

_EVENT_PASSES = 1.0
"""Seconds, ample, after which libvirt has dealt with QEMU's word that the device is gone.

It does so on a thread that nobody can wait for, and by the alias alone: a disk that was attached
under the same alias meanwhile would be taken for gone, and become a ghost in its turn.
"""

_GONE = ("Failed to find node", "Cannot find device", "not found")
_CLOSES_BY_ITSELF = "is not owned by the monitor"
_IN_USE = ("in use", "busy")


class LibvirtGuestInsides(GuestInsides):
    """QEMU through the monitor that libvirt lends.

    A removal asks the guest up to ``detach_attempts`` times and waits ``detach_retry_interval``
    seconds after each, as an unplug does.
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

    def disks(self, instance: InstanceId) -> tuple[InnerDisk, ...]:
        """Return the disks that bear an alias of ours (``ua-``), by alias.

        What QEMU only opened and no device uses, because libvirt died before, is listed as well
        if a volume's id is in its file. A guest that does not run, or is not there, has none.
        Raises HypervisorUnavailable.
        """
        found: dict[str, InnerDisk] = {}
        for chain in self._while_it_runs(instance, _chains, otherwise=_NONE):
            alias = chain.alias
            if alias is not None and is_ours(alias):
                found.setdefault(alias, _inner_disk(alias, chain))
        return tuple(found[alias] for alias in sorted(found))

    def in_doubt(self, instance: InstanceId) -> bool:
        """Tell whether libvirt died under the guest, so that QEMU is to be asked."""
        return self._connection.in_doubt(instance)

    def doubt(self, instance: InstanceId) -> None:
        """Put the guest in doubt, and tell the listeners; one that is in doubt stays so."""
        if not self._connection.in_doubt(instance):
            self._connection.doubt(instance)

    def remove(self, instance: InstanceId, alias: str) -> None:
        """Take a disk that libvirt denies out of QEMU, and what QEMU opened for it.

        One that is not there is fine. Raises GuestBusy when the guest keeps it, HypervisorRefused
        when libvirt has the disk too (then it is no ghost), HypervisorUnavailable.
        """
        if not self.clear(instance, alias):
            message = f"libvirt has disk {alias} too: it is to be unplugged, not removed"
            raise HypervisorRefused(message)

    def clear(
        self, instance: InstanceId, alias: str, *, source: str | None = None, refusal: str = ""
    ) -> bool:
        """Remove the ghost of that alias; return False, all untouched, if libvirt has the disk.

        What QEMU opened and no device uses goes as well if the volume's id is in its file, if its
        file is ``source``, or if libvirt's ``refusal`` names it. Raises as ``remove`` does.
        """
        numbers = numbers_in(refusal)

        def meant(chain: Chain) -> bool:
            return (
                chain.alias == alias
                or not numbers.isdisjoint(chain.numbers)
                or (source is not None and chain.opens(source))
            )

        clear = partial(self._clear, alias=alias, meant=meant)
        return self._while_it_runs(instance, clear, otherwise=True)

    def _while_it_runs(
        self, instance: InstanceId, act: Callable[[libvirt.virDomain], T], *, otherwise: T
    ) -> T:
        try:
            with self._connection.domain(instance) as domain:
                try:
                    return act(domain)
                except libvirt.libvirtError as error:
                    if not_running(error):
                        return otherwise
                    raise
                except QmpRefused as error:
                    raise HypervisorRefused(f"QEMU refused: {error}") from error
        except DomainNotFound:
            return otherwise

    def _clear(
        self, domain: libvirt.virDomain, *, alias: str, meant: Callable[[Chain], bool]
    ) -> bool:
        chains = _chains(domain)
        # Asked after QEMU, who answers when the attach that may be under way has ended.
        if disk_by_alias(live_layout(domain), alias) is not None:
            return False
        ghosts = [chain for chain in chains if chain.device in {None, alias} and meant(chain)]
        if ghosts:
            self._lay(domain, alias, ghosts)
        return True

    def _lay(self, domain: libvirt.virDomain, alias: str, ghosts: Sequence[Chain]) -> None:
        instance = InstanceId(domain.UUIDString())
        LOG.warning("ghost is removed: instance=%s alias=%s", instance, alias)
        self.doubt(instance)
        if any(chain.device == alias for chain in ghosts):
            self._unplug(domain, alias)
        for chain in ghosts:
            _close(domain, chain)
        time.sleep(_EVENT_PASSES)

    def _unplug(self, domain: libvirt.virDomain, alias: str) -> None:
        for _attempt in range(self._attempts):
            if not _ask_to_let_go(domain, alias) or self._let_go(domain, alias):
                return
        message = f"the guest did not let go of disk {alias}, asked {self._attempts} times"
        raise GuestBusy(message)

    def _let_go(self, domain: libvirt.virDomain, alias: str) -> bool:
        # libvirt passes on no event of a device that it does not know.
        end = time.monotonic() + self._interval
        while any(device == alias for device, _block in devices(ask(domain, "query-block"))):
            if time.monotonic() > end:
                return False
            time.sleep(_POLL)
        return True


def _chains(domain: libvirt.virDomain) -> tuple[Chain, ...]:
    blocks = ask(domain, "query-block")
    nodes = ask(domain, "query-named-block-nodes")
    objects = ask(domain, "qom-list", {"path": "/objects"})
    # Last: what libvirt opens after QEMU's answers is not in them, what it had opened is in both.
    known = source_numbers(domain.XMLDesc(0))
    return Answers(blocks=blocks, nodes=nodes, objects=objects, known=known).chains()


def _inner_disk(alias: str, chain: Chain) -> InnerDisk:
    # What a network volume's upper node is called is its whole description in JSON.
    plain = (file for file in chain.files if not file.startswith("json:"))
    return InnerDisk(alias=alias, source=next(plain, None), nodes=chain.nodes)


def _ask_to_let_go(domain: libvirt.virDomain, alias: str) -> bool:
    """Return whether there is something to wait for."""
    try:
        ask(domain, "device_del", {"id": alias})
    except QmpRefused as refused:
        if refused.kind == "DeviceNotFound":
            return False
        if "already in the process of unplug" not in str(refused):
            raise
    return True


def _close(domain: libvirt.virDomain, chain: Chain) -> None:
    _all_gone(chain.nodes, lambda name: ask(domain, "blockdev-del", {"node-name": name}))
    _all_gone(chain.objects, lambda name: ask(domain, "object-del", {"id": name}))


def _all_gone(names: Iterable[str], delete: Callable[[str], object]) -> None:
    """Delete each; one that is in use may be free a moment later."""
    left = list(names)
    for _closing in range(_CLOSINGS):
        refusals = {name: _refusal(name, delete) for name in left}
        left = [name for name in left if refusals[name] is not None]
        if not left:
            return
        time.sleep(_POLL)
    message = f"QEMU does not close {', '.join(left)}: {refusals[left[0]]}"
    raise HypervisorRefused(message)


def _refusal(name: str, delete: Callable[[str], object]) -> str | None:
    """Return why it is still there."""
    try:
        delete(name)
    except QmpRefused as refused:
        text = str(refused)
        if any(words in text for words in _GONE) or _CLOSES_BY_ITSELF in text:
            return None
        if any(words in text for words in _IN_USE):
            return text
        raise
    return None
