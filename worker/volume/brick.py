"""This host's side of the storage network, by os-brick.

os-brick keeps its settings process-wide, in ``cfg.CONF`` and in two privsep contexts; making a
``BrickConnector`` sets them. Importing this module takes a third of a second: most of it goes to
eventlet, which oslo.privsep imports where it is installed; nothing is monkey-patched.
"""

import os
import platform
import shlex
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, assert_never

import os_brick
from os_brick import privileged
from os_brick.exception import InvalidConnectorProtocol
from os_brick.initiator import connector as initiator
from os_brick.initiator.connectors.base import BaseLinuxConnector
from oslo_config import cfg
from oslo_privsep import priv_context
from oslo_utils import importutils

from worker.errors import ConnectFailed, ProtocolUnsupported
from worker.model.connection import Connection
from worker.model.source import BlockSource, FileSource, HostVolume, IscsiSource, RbdSource, Seen
from worker.ports import Connector
from worker.volume.protocols import SOURCES, check, disk_source, require_known
from worker.volume.secrecy import hide, mask


class BrickConnector(Connector):
    """Volumes come and go through os-brick's connectors.

    ``lock_path`` is the folder of os-brick's lock files; every process on the host that uses
    os-brick must name the same. ``root_helper`` is the command that starts os-brick's privileged
    helper, such as ``sudo -n``; empty, its tools run in this process with this process's
    rights: all of them as root, and as an ordinary user still enough for ``local``. A helper
    that would ask for a password must be told not to: nobody is there to answer.
    """

    def __init__(  # noqa: PLR0913 - one a setting
        self,
        *,
        host: str,
        my_ip: str,
        lock_path: str,
        root_helper: str = "",
        multipath: bool = False,
        enforce_multipath: bool = False,
    ) -> None:
        self._host = host
        self._my_ip = my_ip
        self._root_helper = root_helper
        self._multipath = multipath
        self._enforce_multipath = enforce_multipath
        self._lock = threading.Lock()
        self._properties: Mapping[str, Any] | None = None
        _set_up_brick(lock_path, root_helper)

    def properties(self) -> Mapping[str, Any]:
        """Return os-brick's connector properties of the known protocols, as first read.

        Reading them runs tools. They change with the host's set-up (an initiator renamed, a
        daemon installed): a restart or ``refresh`` reads them anew. Raises ConnectFailed, and
        then the next call tries again.
        """
        with self._lock:
            if self._properties is None:
                self._properties = self._read_properties()
            return self._properties

    def refresh(self) -> None:
        """Have the next ``properties`` read the host anew."""
        with self._lock:
            self._properties = None

    def connect(self, connection: Connection) -> HostVolume:
        """Make the volume appear; raises ConnectFailed, ProtocolUnsupported."""
        check(connection)
        properties = hide(connection.properties)
        with _translated(f"connect over {connection.protocol}", properties):
            device = self._brick(connection.protocol).connect_volume(properties)
            path = os.fsdecode(device["path"])
        return disk_source(connection, path)

    def find(self, connection: Connection) -> HostVolume | None:
        """Return the volume as os-brick finds it on this host, None where it is not.

        Nothing is logged in to or scanned for. Raises ConnectFailed, ProtocolUnsupported.
        """
        require_known(connection.protocol)
        properties = hide(connection.properties)
        with _translated(f"look for a volume over {connection.protocol}", properties):
            paths = self._brick(connection.protocol).get_volume_paths(properties)
        there = [os.fsdecode(path) for path in paths if path and Path(path).exists()]
        return disk_source(connection, there[0]) if there else None

    def examine(self, volume: HostVolume) -> Seen:
        """Ask the file or the device how many bytes it has; raises ConnectFailed."""
        try:
            return Seen(size=_size_of(volume))
        except OSError as error:
            raise ConnectFailed(f"cannot read the size of {volume.source.name}: {error}") from error

    def extend(self, connection: Connection) -> int:
        """Have os-brick see how large the volume has become; return that in bytes.

        Raises ConnectFailed, ProtocolUnsupported.
        """
        require_known(connection.protocol)
        properties = hide(connection.properties)
        with _translated(f"extend over {connection.protocol}", properties):
            size = self._brick(connection.protocol).extend_volume(properties)
        if size is None:
            raise ConnectFailed(f"os-brick did not say how large {connection.protocol} has become")
        return int(size)

    def disconnect(self, connection: Connection, *, force: bool = False) -> None:
        """Make the volume disappear; raises ConnectFailed, ProtocolUnsupported."""
        require_known(connection.protocol)
        properties = hide(connection.properties)
        with _translated(f"disconnect over {connection.protocol}", properties):
            self._brick(connection.protocol).disconnect_volume(properties, None, force=force)

    def _brick(self, protocol: str) -> Any:  # noqa: ANN401 - os-brick has no types
        return initiator.InitiatorConnector.factory(
            protocol, self._root_helper, use_multipath=self._multipath
        )

    def _read_properties(self) -> Mapping[str, Any]:
        found: dict[str, Any] = {
            "platform": platform.machine(),
            "os_type": sys.platform,
            "ip": self._my_ip,
            "host": self._host,
        }
        with _translated("read this host's connector properties", {}):
            for connector in _known_connectors():
                found |= connector.get_connector_properties(
                    self._root_helper,
                    host=self._host,
                    multipath=self._multipath,
                    enforce_multipath=self._enforce_multipath,
                    execute=None,
                )
        return found


def _known_connectors() -> Iterator[Any]:
    """Yield os-brick's classes for the protocols of the table.

    ``os_brick.initiator.connector.get_connector_properties`` asks all fifteen, whether or not
    the host could use them; two write below /etc/nvme, and most warn of what is not installed.
    """
    yield BaseLinuxConnector
    mapping = initiator.get_connector_mapping()
    for path in dict.fromkeys(mapping[protocol.upper()] for protocol in SOURCES):
        yield importutils.import_class(path)


def _set_up_brick(lock_path: str, root_helper: str) -> None:
    for context in (privileged.default, privileged.brick_privsep_hide_output):
        context.set_client_mode(bool(root_helper))
    if root_helper:
        # os-brick drops the root_helper that its calls are given; this is where it counts.
        priv_context.init(root_helper=shlex.split(root_helper))
    cfg.CONF.set_override("lock_path", lock_path, group="oslo_concurrency")
    os_brick.setup(cfg.CONF)


@contextmanager
def _translated(what: str, properties: Mapping[str, Any]) -> Iterator[None]:
    try:
        yield
    except InvalidConnectorProtocol as error:
        raise ProtocolUnsupported(str(error)) from error
    except Exception as error:  # noqa: BLE001 - whatever its tools and its parsing raise
        # A failed command's text holds its arguments: a cause that shows a secret is left out.
        message = mask(str(error), properties)
        shows_secret = mask(repr(error), properties) != repr(error) or message != str(error)
        failure = ConnectFailed(f"cannot {what}: {type(error).__name__}: {message}")
        raise failure from None if shows_secret else error


def _size_of(volume: HostVolume) -> int:
    match volume.source:
        case FileSource(path=path):
            return Path(path).stat().st_size
        case BlockSource(path=path):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return os.lseek(descriptor, 0, os.SEEK_END)
            finally:
                os.close(descriptor)
        case IscsiSource() | RbdSource():
            raise ConnectFailed(f"{volume.source.name} is no device of this host")
        case _:
            assert_never(volume.source)
