"""What one device needs in order to be in both layouts of a guest."""

from collections.abc import Callable, Mapping

import libvirt

from worker.errors import HypervisorRefused
from worker.model.guest import Layout
from worker.model.identity.alias import is_kept
from worker.virt.failures import connection_lost
from worker.virt.guests import live_layout, persistent_layout


def check_kept(alias: str) -> None:
    """Raise HypervisorRefused for an alias that libvirt would drop without a word."""
    if not is_kept(alias):
        message = f"libvirt would drop the alias {alias!r}, and the device be lost track of"
        raise HypervisorRefused(message)


def layouts(domain: libvirt.virDomain) -> Mapping[int, Layout]:
    """Return the layouts that there are, each by the flag that a change of it takes."""
    found = {
        libvirt.VIR_DOMAIN_AFFECT_LIVE: live_layout(domain),
        libvirt.VIR_DOMAIN_AFFECT_CONFIG: persistent_layout(domain),
    }
    return {where: layout for where, layout in found.items() if layout is not None}


def lacking(domain: libvirt.virDomain, has: Callable[[Layout], bool]) -> int:
    """Return the flags of the layouts that lack the device; 0 when each has it."""
    return sum(where for where, layout in layouts(domain).items() if not has(layout))


def refusal_of(plug: Callable[[], object]) -> libvirt.libvirtError | None:
    """Plug a device in; return why libvirt did not. Raises libvirtError if libvirt is gone."""
    try:
        plug()
    except libvirt.libvirtError as error:
        if connection_lost(error):
            raise
        return error
    return None
