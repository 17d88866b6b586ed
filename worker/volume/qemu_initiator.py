"""Volumes that QEMU reaches by itself: nothing of them appears on this host.

QEMU logs in when a guest is given the volume, and out when it lets go or ends. All that is left
to do here is to say where the volume is, and to ask for its size, by QEMU's own tool and driver.
"""

import json
import re
import subprocess
from collections.abc import Mapping
from typing import Any

from worker.errors import ConnectFailed
from worker.model.connection import Connection
from worker.model.source import HostVolume, IscsiSource
from worker.ports import Connector
from worker.volume.protocols import QEMU_SOURCES, qemu_source


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

    def size(self, volume: HostVolume) -> int:
        """Ask the target for the size, anew; raises ConnectFailed."""
        if isinstance(volume.source, IscsiSource):
            return self._size_of(volume.source)
        return self._host.size(volume)

    def disconnect(self, connection: Connection, *, force: bool = False) -> None:
        """Leave it: QEMU has logged out. Raises what the host's side does for its protocols."""
        if connection.protocol not in QEMU_SOURCES:
            self._host.disconnect(connection, force=force)

    def _size_of(self, source: IscsiSource) -> int:
        failed = f"cannot read the size of {source.name} with qemu-img"
        try:
            told = subprocess.run(
                ["qemu-img", "info", "--output=json", "--image-opts", _options(source)],
                capture_output=True,
                text=True,
                check=True,
                stdin=subprocess.DEVNULL,
                timeout=self._timeout,
            ).stdout
            return int(json.loads(told)["virtual-size"])
        except subprocess.CalledProcessError as error:
            raise ConnectFailed(f"{failed}: {error.stderr.strip()}") from error
        except subprocess.TimeoutExpired as error:
            raise ConnectFailed(f"{failed}: no answer within {self._timeout:g} s") from error
        except (OSError, ValueError, KeyError) as error:
            raise ConnectFailed(f"{failed}: {error!r}") from error


def initiator_name(host: str) -> str:
    """Return the name that a host has as an initiator, unless another is configured."""
    return f"iqn.2008-11.org.linux-kvm:{re.sub(r'[^a-z0-9.-]', '-', host.lower())}"


def _options(source: IscsiSource) -> str:
    """Name the driver, so that nothing is guessed from what the volume's first bytes say."""
    said = {
        "driver": "iscsi",
        "transport": "tcp",
        "portal": source.portal,
        "target": source.iqn,
        "lun": source.lun,
        "initiator-name": source.initiator,
    }
    return ",".join(f"{name}={value}" for name, value in said.items())
