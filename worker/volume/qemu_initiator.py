"""Volumes that QEMU reaches by itself: nothing of them appears on this host.

QEMU logs in when a guest is given the volume, and out when it lets go or ends. All that is left
to do here is to say where the volume is, and to ask for its size, by QEMU's own tool and driver.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from worker.model.connection import Connection
from worker.model.guest_secret import GuestSecret
from worker.model.source import HostVolume, IscsiSource, Seen
from worker.ports import Connector
from worker.volume.protocols import QEMU_SOURCES, qemu_source
from worker.volume.qemu_img import LOGIN, login_of, virtual_size


class QemuInitiator(Connector):
    """Leaves to QEMU the protocols that it speaks, and all others to the ``host``'s own side.

    ``name`` is what targets know this host's guests by. A portal that does not answer is given
    ``timeout`` seconds.
    """

    def __init__(self, host: Connector, *, name: str, timeout: float = 30.0) -> None:
        self._host = host
        self._name = name
        self._timeout = timeout

    def properties(self) -> Mapping[str, Any]:
        """Return the host's own, under the name of QEMU's initiator: it takes one path.

        Raises ConnectFailed.
        """
        single = {"multipath": False, "enforce_multipath": False}
        return {**self._host.properties(), "initiator": self._name, **single}

    def connect(self, connection: Connection) -> HostVolume:
        """Say where QEMU finds the volume; raises ConnectFailed, ProtocolUnsupported.

        Whether it is there is found out by the size.
        """
        if connection.protocol in QEMU_SOURCES:
            return qemu_source(connection, self._name)
        return self._host.connect(connection)

    def find(self, connection: Connection) -> HostVolume | None:
        """Return what ``connect`` does: there is nothing on this host that could be missing."""
        if connection.protocol in QEMU_SOURCES:
            return qemu_source(connection, self._name)
        return self._host.find(connection)

    def examine(self, volume: HostVolume) -> Seen:
        """Ask the target for the size, anew; raises ConnectFailed. QEMU tells no other identity."""
        if isinstance(volume.source, IscsiSource):
            return Seen(size=self._size_of(volume.source, volume.secrets))
        return self._host.examine(volume)

    def extend(self, connection: Connection) -> int:
        """Ask for the size by now: QEMU sees it by itself.

        Raises ConnectFailed, also for a target that asks for a password that is not there.
        """
        if connection.protocol in QEMU_SOURCES:
            return self.examine(qemu_source(connection, self._name)).size
        return self._host.extend(connection)

    def disconnect(self, connection: Connection, *, force: bool = False) -> None:
        """Leave it: QEMU has logged out. Raises what the host's side does for its protocols."""
        if connection.protocol not in QEMU_SOURCES:
            self._host.disconnect(connection, force=force)

    def _size_of(self, source: IscsiSource, secrets: Sequence[GuestSecret]) -> int:
        options = iscsi_options(source)
        return virtual_size(source.name, options, login_of(secrets), timeout=self._timeout)


def initiator_name(host: str) -> str:
    """Return the name that a host has as an initiator, unless another is configured."""
    return f"iqn.2008-11.org.linux-kvm:{re.sub(r'[^a-z0-9.-]', '-', host.lower())}"


def iscsi_options(source: IscsiSource) -> dict[str, object]:
    """Say to QEMU's driver where the LUN is, and who logs in; the password is the login's."""
    said: dict[str, object] = {
        "driver": "iscsi",
        "transport": "tcp",
        "portal": source.portal,
        "target": source.iqn,
        "lun": source.lun,
        "initiator-name": source.initiator,
    }
    login = {} if source.user is None else {"user": source.user, "password-secret": LOGIN}
    return said | login
