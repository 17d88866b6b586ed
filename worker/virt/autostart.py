"""Guests that hold volumes are not libvirt's to start: it would do so before they are connected."""

import logging
from contextlib import suppress

import libvirt

from worker.errors import DomainNotFound
from worker.model.ids import InstanceId
from worker.ports import Autostart
from worker.virt.libvirtd.connection import LibvirtConnection

LOG = logging.getLogger(__name__)


def take_off_autostart(domain: libvirt.virDomain) -> None:
    """Take the domain off libvirt's autostart, if it is on it; the worker starts it instead."""
    if domain.isPersistent() and domain.autostart():
        domain.setAutostart(0)
        LOG.warning("guest taken off libvirt's autostart: instance=%s", domain.UUIDString())


class LibvirtAutostart(Autostart):
    """libvirt's autostart of domains by their uuid."""

    def __init__(self, connection: LibvirtConnection) -> None:
        self._connection = connection

    def is_on(self, instance: InstanceId) -> bool:
        """Tell whether libvirt starts the domain; it keeps no such word of a transient one."""
        with suppress(DomainNotFound), self._connection.domain(instance) as domain:
            return bool(domain.isPersistent() and domain.autostart())
        return False

    def switch(self, instance: InstanceId, *, on: bool) -> None:
        """Have libvirt start the domain by itself, or not."""
        with suppress(DomainNotFound), self._connection.domain(instance) as domain:
            if not on:
                take_off_autostart(domain)
            elif domain.isPersistent() and not domain.autostart():
                domain.setAutostart(1)
