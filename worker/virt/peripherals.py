"""The interfaces and host devices of one guest, plugged in and out through libvirt."""

import logging
from contextlib import suppress
from functools import partial
from typing import assert_never

import libvirt
from lxml import etree

from worker.errors import DomainNotFound, HypervisorRefused
from worker.model.guest import Layout
from worker.model.host_device import HostDevice
from worker.model.identity.alias import is_kept
from worker.model.identity.lookup import find_by_alias
from worker.model.ids import InstanceId
from worker.model.peripheral import Peripheral
from worker.model.specification import Interface
from worker.ports import GuestPeripherals
from worker.virt.both_layouts import check_kept, lacking, refusal_of
from worker.virt.failures import ghost_in_the_way
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.likeness import peripheral_differences
from worker.virt.qemu.ghosts import lay_ghost
from worker.virt.unplugging import Unplugging
from worker.virt.xml.hostdev import host_device_tree
from worker.virt.xml.interface import interface_tree

LOG = logging.getLogger(__name__)


class LibvirtGuestPeripherals(GuestPeripherals):
    """Interfaces and host devices by their alias.

    libvirt 9.0 takes a second interface with a MAC that another has, live and persistent, as long
    as alias and address are its own; a second device with an alias is error 67, one at an address
    that is taken error 27. So the alias alone tells twins apart.

    An unplug asks the guest up to ``detach_attempts`` times and waits ``detach_retry_interval``
    seconds after each. QEMU itself is asked, which taints the guest, only for one in doubt, or
    after a refusal that names what libvirt denies.
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
        self._patience = detach_retry_interval * detach_attempts

    def attach(self, instance: InstanceId, peripheral: Peripheral) -> None:
        """Plug it in, into each of the live and persistent layouts that lacks it.

        Afterwards both have it at its address under its alias. A ghost of it is removed before.
        Raises DomainNotFound, HypervisorRefused, also when one has it otherwise,
        HypervisorUnavailable, and GuestBusy when the guest keeps the ghost.
        """
        check_kept(peripheral.alias)
        element = peripheral_element(peripheral)
        has = partial(_has, peripheral=peripheral)
        with self._connection.domain(instance) as domain:
            where = lacking(domain, has)
            if not where:
                return
            plug = partial(domain.attachDeviceFlags, element, where)
            refusal = refusal_of(plug)
            if refusal is not None and ghost_in_the_way(refusal):
                self._lay(domain, instance, peripheral.alias)
                refusal = refusal_of(plug)
            # An attach of a worker that died in it may have come first: then ours is refused, and
            # the guest has it all the same.
            if lacking(domain, has):
                message = f"libvirt took device {peripheral.alias} and does not show it"
                raise refusal or HypervisorRefused(message)

    def unplug(self, instance: InstanceId, alias: str) -> None:
        """Take it from the running guest and wait until that has let go.

        What is not there is fine, a guest too; the persistent layout is not touched. The alias may
        be libvirt's own. Raises GuestBusy when the guest keeps it, HypervisorUnavailable.
        """
        self._unplugging.unplug(instance, alias)
        if self._connection.in_doubt(instance):
            with suppress(DomainNotFound), self._connection.domain(instance) as domain:
                self._lay(domain, instance, alias)

    def forget(self, instance: InstanceId, alias: str) -> None:
        """Take it from the persistent layout; one that is not there is fine."""
        self._unplugging.forget(instance, alias)

    def _lay(self, domain: libvirt.virDomain, instance: InstanceId, alias: str) -> None:
        """Remove a ghost of ours; whoever finds one doubts the guest."""
        if not is_kept(alias) or not lay_ghost(domain, alias, self._patience):
            return
        LOG.warning("ghost is removed: instance=%s alias=%s", instance, alias)
        if not self._connection.in_doubt(instance):
            self._connection.doubt(instance)


def peripheral_element(peripheral: Peripheral) -> str:
    """Write the peripheral as libvirt wants it.

    Raises HypervisorRefused for a text that XML cannot hold (a bridge with a control character).
    """
    try:
        element = peripheral_tree(peripheral)
    except ValueError as error:
        message = f"device {peripheral.alias} cannot be written as XML: {error}"
        raise HypervisorRefused(message) from error
    return etree.tostring(element, encoding="unicode")


def peripheral_tree(peripheral: Peripheral) -> etree._Element:
    """Make the element, to stand alone or in a domain; raises ValueError."""
    match peripheral.what:
        case Interface() as interface:
            return interface_tree(interface, peripheral.alias, peripheral.address)
        case HostDevice() as device:
            return host_device_tree(device, peripheral.alias, peripheral.address)
        case _:
            assert_never(peripheral.what)


def _has(layout: Layout, peripheral: Peripheral) -> bool:
    """Tell whether the layout has it; raises HypervisorRefused if it has it otherwise."""
    shown = find_by_alias(layout, peripheral.alias)
    different = [] if shown is None else peripheral_differences(shown, peripheral)
    if different:
        message = f"the guest's device {peripheral.alias} has {'; '.join(different)}"
        raise HypervisorRefused(message)
    return shown is not None
