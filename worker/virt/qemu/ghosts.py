"""An interface or host device that QEMU has and libvirt denies: its libvirtd died in mid-attach.

libvirt calls a device of QEMU's by its alias, and what joins an interface to the host by ``host``
and the alias. https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html
"""

import time
from collections.abc import Mapping

import libvirt

from worker.errors import GuestBusy, HypervisorRefused
from worker.model.identity.lookup import find_by_alias
from worker.virt.failures import not_running
from worker.virt.guests import live_layout
from worker.virt.qemu.monitor import QmpRefused, ask

_POLL = 0.1
_EVENT_PASSES = 1.0
"""Seconds, ample, after which libvirt has dealt with QEMU's word that the device is gone.

Until then it would take one that was attached under the same alias for the one that has gone.
"""

_NOT_THERE = "not found"
_ASKED_BEFORE = "already in the process of unplug"


def lay_ghost(domain: libvirt.virDomain, alias: str, seconds: float) -> bool:
    """Take the device out of QEMU if libvirt denies it; return whether there was something.

    A guest that does not run has nothing. Raises GuestBusy when it keeps the device so long,
    HypervisorRefused, libvirtError.
    """
    try:
        # Asked first: QEMU answers when an attach that may be under way has ended.
        there = _has(domain, alias)
        if find_by_alias(live_layout(domain), alias) is not None:
            return False
        laid = there and _unplugged(domain, alias, seconds)
        return _said(domain, "netdev_del", {"id": f"host{alias}"}) or laid
    except libvirt.libvirtError as error:
        if not_running(error):
            return False
        raise


def _has(domain: libvirt.virDomain, alias: str) -> bool:
    children = ask(domain, "qom-list", {"path": "/machine/peripheral"})
    return any(child["name"] == alias for child in children)


def _unplugged(domain: libvirt.virDomain, alias: str, seconds: float) -> bool:
    end = time.monotonic() + seconds
    _said(domain, "device_del", {"id": alias})
    while _has(domain, alias):
        if time.monotonic() > end:
            raise GuestBusy(f"the guest did not let go of device {alias} that libvirt denies")
        time.sleep(_POLL)
    time.sleep(_EVENT_PASSES)
    return True


def _said(domain: libvirt.virDomain, command: str, arguments: Mapping[str, str]) -> bool:
    """Have QEMU do it; return False for what is not there, or was asked for before."""
    try:
        ask(domain, command, arguments)
    except QmpRefused as refused:
        if _NOT_THERE in str(refused) or _ASKED_BEFORE in str(refused):
            return False
        raise HypervisorRefused(f"QEMU refused: {refused}") from refused
    return True
