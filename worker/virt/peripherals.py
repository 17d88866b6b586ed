"""The interfaces and host devices of one guest, plugged in and out through libvirt."""

from functools import partial
from typing import assert_never

from lxml import etree

from worker.errors import HypervisorRefused
from worker.model.guest import Layout
from worker.model.host_device import HostDevice
from worker.model.ids import InstanceId
from worker.model.lookup import find_by_alias
from worker.model.peripheral import Peripheral
from worker.model.specification import Interface
from worker.ports import GuestPeripherals
from worker.virt.both_layouts import check_kept, lacking, refusal_of
from worker.virt.connection import LibvirtConnection
from worker.virt.host_devices import host_device_tree
from worker.virt.interface_xml import interface_tree
from worker.virt.likeness import peripheral_differences
from worker.virt.unplugging import Unplugging


class LibvirtGuestPeripherals(GuestPeripherals):
    """Interfaces and host devices by their alias.

    libvirt 9.0 takes a second interface with a MAC that another has, live and persistent, as long
    as alias and address are its own; a second device with an alias is error 67, one at an address
    that is taken error 27. So the alias alone tells twins apart.

    An unplug asks the guest up to ``detach_attempts`` times and waits ``detach_retry_interval``
    seconds after each.
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

    def attach(self, instance: InstanceId, peripheral: Peripheral) -> None:
        """Plug it in, into each of the live and persistent layouts that lacks it.

        Afterwards both have it at its address under its alias. Raises DomainNotFound,
        HypervisorRefused, also when one has it otherwise, HypervisorUnavailable.
        """
        check_kept(peripheral.alias)
        element = peripheral_element(peripheral)
        has = partial(_has, peripheral=peripheral)
        with self._connection.domain(instance) as domain:
            where = lacking(domain, has)
            if not where:
                return
            refusal = refusal_of(partial(domain.attachDeviceFlags, element, where))
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

    def forget(self, instance: InstanceId, alias: str) -> None:
        """Take it from the persistent layout; one that is not there is fine."""
        self._unplugging.forget(instance, alias)


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
