"""The machines that libvirt keeps."""

from collections.abc import Callable
from contextlib import suppress

import libvirt

from worker.errors import DomainNotFound, DomainTaken, HypervisorRefused
from worker.model.guest import Layout
from worker.model.identity.lookup import disk_by_alias, find_by_alias
from worker.model.ids import InstanceId
from worker.model.machine import Machine
from worker.model.places.controllers import empty_layout
from worker.ports import Machines
from worker.virt.accel import domain_type
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.likeness import differences, peripheral_differences
from worker.virt.xml.capabilities import check_accepted, check_supported
from worker.virt.xml.domain import domain_element
from worker.virt.xml.layout import read_layout

_WHOLLY = (
    libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
    | libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
)


class LibvirtMachines(Machines):
    """Machines by the uuid of their domain; never on libvirt's own autostart."""

    def __init__(self, connection: LibvirtConnection) -> None:
        self._connection = connection

    def check(self, machine: Machine) -> None:
        """Raise unless the machine can be made; makes nothing.

        Its disks need not be there yet. Raises MachineUnsupported, DomainTaken, NoFreePort.
        """
        kind = domain_type()
        element = domain_element(machine, kind)
        with self._connection.use() as connection:
            if _found(connection.lookupByUUIDString, machine.instance) is not None:
                raise DomainTaken(f"a domain has the uuid {machine.instance}")
            _check_name(connection, machine)
            check_supported(connection, machine, kind)
            check_accepted(connection, element)

    def define(self, machine: Machine) -> None:
        """Make the machine's persistent layout; one of its uuid that is there stays as it is.

        Afterwards every device is as it was asked for. Raises DomainTaken when another domain has
        its name, HypervisorRefused also when libvirt made something else of it, or what is there
        is something else.
        """
        element = domain_element(machine, domain_type())
        with self._connection.use() as connection:
            kept = _found(connection.lookupByUUIDString, machine.instance)
            if kept is None:
                _check_name(connection, machine)
            domain = kept or connection.defineXML(element)
            wrong = _wrong(domain, machine)
            if wrong and kept is None:
                domain.undefineFlags(_WHOLLY)
            if wrong:
                message = f"libvirt keeps {machine.name} otherwise than asked: {'; '.join(wrong)}"
                raise HypervisorRefused(message)

    def undefine(self, instance: InstanceId) -> None:
        """Forget a machine that is off, with its NVRAM; one that is not there is fine."""
        with suppress(DomainNotFound), self._connection.domain(instance) as domain:
            if domain.isActive():
                raise HypervisorRefused(f"domain {domain.name()} runs")
            domain.undefineFlags(_WHOLLY)


def _found(look: Callable[[str], libvirt.virDomain], name_or_uuid: str) -> libvirt.virDomain | None:
    try:
        return look(name_or_uuid)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def _check_name(connection: libvirt.virConnect, machine: Machine) -> None:
    if _found(connection.lookupByName, machine.name) is not None:
        raise DomainTaken(f"a domain is named {machine.name}")


def _wrong(domain: libvirt.virDomain, machine: Machine) -> list[str]:
    """Return in words what libvirt keeps otherwise: it drops what it does not like in silence."""
    if not domain.isPersistent():
        return ["it is transient"]
    layout = read_layout(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    return [
        *_wrong_disks(layout, machine),
        *_wrong_interfaces(layout, machine),
        *_wrong_places(layout, machine),
    ]


def _wrong_disks(layout: Layout, machine: Machine) -> list[str]:
    found: list[str] = []
    for disk in machine.disks:
        shown = disk_by_alias(layout, disk.alias)
        different = ["is not there"] if shown is None else differences(shown, disk)
        found += [f"disk {disk.alias} {each}" for each in different]
    return found


def _wrong_interfaces(layout: Layout, machine: Machine) -> list[str]:
    found: list[str] = []
    for interface in machine.interfaces:
        shown = find_by_alias(layout, interface.alias)
        missing = ["is not there"]
        different = missing if shown is None else peripheral_differences(shown, interface)
        found += [f"interface {interface.alias} {each}" for each in different]
    return found


def _wrong_places(layout: Layout, machine: Machine) -> list[str]:
    """Return what is missing at our addresses, and what else is in a place for disks."""
    empty = empty_layout(machine.shape, len(machine.interfaces))
    asked = {*empty.taken, *(disk.address for disk in machine.disks if disk.address)}
    ours = {place for places in empty.places.values() for place in places}
    return [
        *(f"nothing is at {address}" for address in asked - layout.taken),
        *(f"something is at {address}" for address in (layout.taken - asked) & ours),
    ]
