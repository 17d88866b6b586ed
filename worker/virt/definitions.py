"""The texts that libvirt keeps of its domains."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import libvirt

from worker.errors import DomainNotFound, DomainTaken, HypervisorRefused
from worker.model.guest import Layout
from worker.model.identity.marking import MarkChange
from worker.model.ids import InstanceId
from worker.model.moving.beside import Beside
from worker.ports.moving import NOTHING_BESIDE, Definitions, NewSources
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.xml.beside import beside_of, placed
from worker.virt.xml.layout import read_layout
from worker.virt.xml.marks import parsed, remarked, sourced, unmarked, without_aliases

_KEPT = libvirt.VIR_DOMAIN_XML_INACTIVE
_KEEP_FILES = libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_KEEP_TPM
"""A guest without its TPM's state has lost what it sealed: the keys of its disks, for one."""

_WHOLE = _KEPT | libvirt.VIR_DOMAIN_XML_SECURE
"""With the passwords of consoles: a text without them, defined again, would take them away."""


class LibvirtDefinitions(Definitions):
    """Persistent layouts by the uuid of their domain."""

    def __init__(self, connection: LibvirtConnection) -> None:
        self._connection = connection

    def mark(self, instance: InstanceId, changes: Sequence[MarkChange]) -> None:
        """Give devices of the persistent layout other marks, all or none."""
        wanted = [change for change in changes if change.changes]
        with self._persistent(instance) as domain:
            before = domain.XMLDesc(_WHOLE)
            after = remarked(before, wanted)
            if after != before:
                _redefine(domain, before, after)

    def read(self, instance: InstanceId, *, aliases: bool = True) -> str:
        """Return the persistent layout's text, without secrets."""
        with self._persistent(instance) as domain:
            text: str = domain.XMLDesc(_KEPT)
            return text if aliases else without_aliases(text)

    def layout(self, text: str) -> Layout:
        """Read what a text says of devices."""
        parsed(text)
        return read_layout(text)

    def marked(self, text: str, changes: Sequence[MarkChange]) -> str:
        """Return a text with other marks."""
        return remarked(text, changes)

    def taken(self, instance: InstanceId, name: str) -> str | None:
        """Return the name of a domain that has the uuid or the name already; None for no such."""
        with self._connection.use() as connection:
            for domain in connection.listAllDomains():
                if domain.UUIDString() == instance or domain.name() == name:
                    return str(domain.name())
        return None

    def beside(self, instance: InstanceId) -> Beside:
        """Return the files that the persistent layout names beside its disks."""
        return beside_of(self.read(instance), self._connection.uri)

    def keeps(self, instance: InstanceId) -> tuple[str, ...]:
        """Return what else libvirt keeps of a domain, in words, none for nothing."""
        with self._connection.domain(instance) as domain:
            found = {
                "snapshots (virsh snapshot-delete)": domain.snapshotNum(),
                "checkpoints (virsh checkpoint-delete)": len(domain.listAllCheckpoints()),
                "a managed save (virsh managedsave-remove)": domain.hasManagedSaveImage(),
            }
        return tuple(name for name, number in found.items() if number)

    def define(
        self, instance: InstanceId, text: str, sources: NewSources, beside: Beside = NOTHING_BESIDE
    ) -> None:
        """Make a domain of the text, its files where they are now; one that is there stays."""
        domain = parsed(text)
        if domain.findtext("uuid") != instance:
            message = f"the text is of domain {domain.findtext('uuid')}, not of {instance}"
            raise HypervisorRefused(message)
        with self._connection.use() as connection:
            if not _is_there(connection, instance, domain.findtext("name") or ""):
                connection.defineXML(placed(sourced(text, sources), beside))

    def renew(self, instance: InstanceId, sources: NewSources) -> None:
        """Have the persistent layout say where disks are now, and change nothing else of them."""
        with self._persistent(instance) as domain:
            before = domain.XMLDesc(_WHOLE)
            after = sourced(before, sources)
            if after != before:
                domain.connect().defineXML(after)

    def drop(self, instance: InstanceId) -> None:
        """Have the hypervisor forget a machine that is off; files stay, NVRAM and TPM included."""
        with suppress(DomainNotFound), self._connection.domain(instance) as domain:
            if domain.isActive():
                # libvirt would make it a transient one, and let it run.
                message = f"domain {domain.name()} runs"
                raise HypervisorRefused(message)
            domain.undefineFlags(_KEEP_FILES)

    @contextmanager
    def _persistent(self, instance: InstanceId) -> Iterator[libvirt.virDomain]:
        with self._connection.domain(instance) as domain:
            if not domain.isPersistent():
                message = f"domain {domain.name()} is transient: it has no text that is kept"
                raise HypervisorRefused(message)
            yield domain


def _redefine(domain: libvirt.virDomain, before: str, after: str) -> None:
    """Define it and read it back: libvirt drops what it does not like without a word."""
    connection = domain.connect()
    connection.defineXML(after)
    kept = domain.XMLDesc(_WHOLE)
    same = unmarked(kept) == unmarked(before)
    if not same or read_layout(kept).devices != read_layout(after).devices:
        connection.defineXML(before)
        message = f"libvirt did not keep the marks of domain {domain.name()} as they were given"
        raise HypervisorRefused(message)


def _is_there(connection: libvirt.virConnect, instance: InstanceId, name: str) -> bool:
    domains = connection.listAllDomains()
    if any(domain.UUIDString() == instance for domain in domains):
        return True
    if any(domain.name() == name for domain in domains):
        message = f"a domain named {name} is there already"
        raise DomainTaken(message)
    return False
