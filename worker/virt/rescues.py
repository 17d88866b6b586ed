"""Rescues by libvirt: a domain is created over its persistent definition, which stays.

``virDomainCreateXML`` of the uuid and name of a domain that is off runs the given layout; what
libvirt keeps is the same before, meanwhile and after (reference/environment.md).
"""

import libvirt
from lxml import etree

from worker.errors import HypervisorRefused, MachineUnsupported
from worker.model.identity.lookup import disk_by_alias
from worker.model.ids import InstanceId
from worker.model.rescue.words import RescueLayout, rescue_alias
from worker.ports import Rescues
from worker.virt.autostart import take_off_autostart
from worker.virt.failures import connection_lost
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.power import check_no_saved_state, is_up
from worker.virt.xml.capabilities import check_accepted
from worker.virt.xml.layout import read_layout
from worker.virt.xml.rescue import rescue_text

_KEPT = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
_ABLE = ("qemu", "kvm")


class LibvirtRescues(Rescues):
    """Rescues by the uuid of the domain."""

    def __init__(self, connection: LibvirtConnection) -> None:
        self._connection = connection

    def check(self, instance: InstanceId, layout: RescueLayout) -> None:
        """Raise unless the guest can run with the layout; changes nothing."""
        with self._connection.domain(instance) as domain:
            text = _kept(domain)
            _check_able(text)
            check_no_saved_state(domain)
            check_accepted(domain.connect(), rescue_text(text, layout))

    def start(self, instance: InstanceId, layout: RescueLayout) -> None:
        """Start the guest with the layout; one that runs with it is fine."""
        with self._connection.domain(instance) as domain:
            # libvirt would start it without the rescue, when the host comes back.
            take_off_autostart(domain)
            if is_up(domain):
                _check_in_rescue(domain)
                return
            check_no_saved_state(domain)
            try:
                domain.connect().createXML(rescue_text(_kept(domain), layout))
            except libvirt.libvirtError as error:
                # The start of a worker that died in it may have come first.
                if connection_lost(error) or not _runs_in_rescue(domain):
                    raise


def _kept(domain: libvirt.virDomain) -> str:
    if not domain.isPersistent():
        message = f"domain {domain.name()} is transient: libvirt forgets it when it is off"
        raise HypervisorRefused(message)
    text: str = domain.XMLDesc(_KEPT)
    return text


def _check_able(text: str) -> None:
    kind = etree.fromstring(text.encode()).get("type", "")
    if kind not in _ABLE:
        message = f"a domain of type {kind} cannot be rescued; {' and '.join(_ABLE)} can"
        raise MachineUnsupported(message)


def _runs_in_rescue(domain: libvirt.virDomain) -> bool:
    if not is_up(domain):
        return False
    alias = rescue_alias(InstanceId(domain.UUIDString()))
    return disk_by_alias(read_layout(domain.XMLDesc()), alias) is not None


def _check_in_rescue(domain: libvirt.virDomain) -> None:
    if not _runs_in_rescue(domain):
        message = f"domain {domain.name()} runs, and not in rescue"
        raise HypervisorRefused(message)
