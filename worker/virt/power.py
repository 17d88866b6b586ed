"""The switches of libvirt's machines."""

import time
from contextlib import suppress

from worker.errors import DomainNotFound
from worker.model.ids import InstanceId
from worker.ports import Power
from worker.virt.connection import LibvirtConnection

_POLL = 0.1


class LibvirtPower(Power):
    """Switches by the uuid of the domain."""

    def __init__(self, connection: LibvirtConnection) -> None:
        self._connection = connection

    def start(self, instance: InstanceId) -> None:
        """Start the guest from its persistent layout; one that runs is fine."""
        with self._connection.domain(instance) as domain:
            if not domain.isActive():
                domain.create()

    def ask_off(self, instance: InstanceId) -> None:
        """Ask the guest to power itself off, and return at once; one that is off is fine."""
        with suppress(DomainNotFound), self._connection.domain(instance) as domain:
            if domain.isActive():
                domain.shutdown()

    def wait_off(self, instance: InstanceId, seconds: float) -> bool:
        """Wait until the guest is off; return whether it is. One that is not there is off."""
        end = time.monotonic() + seconds
        while self._runs(instance):
            if time.monotonic() >= end:
                return False
            time.sleep(_POLL)
        return True

    def cut(self, instance: InstanceId) -> None:
        """Take the power from the guest; one that is off, or not there, is fine."""
        with suppress(DomainNotFound), self._connection.domain(instance) as domain:
            if domain.isActive():
                domain.destroy()

    def _runs(self, instance: InstanceId) -> bool:
        try:
            with self._connection.domain(instance) as domain:
                return bool(domain.isActive())
        except DomainNotFound:
            return False
