"""This host's side of the storage network, by os-brick.

os-brick keeps its settings process-wide, in ``cfg.CONF`` and in two privsep contexts; making a
``BrickConnector`` sets them. Importing this module takes a third of a second: most of it goes to
eventlet, which oslo.privsep imports where it is installed; nothing is monkey-patched.
"""

import os
import platform
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, assert_never

from os_brick.exception import (
    InvalidConnectorProtocol,
    TargetPortalNotFound,
    TargetPortalsNotFound,
)
from oslo_concurrency.processutils import ProcessExecutionError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from worker.errors import ConnectFailed, ProtocolUnsupported, WorkerError
from worker.model.connection import Connection
from worker.model.source import (
    BlockSource,
    DiskFormat,
    FileSource,
    HostVolume,
    IscsiSource,
    RbdSource,
    Seen,
)
from worker.ports import Connector
from worker.volume.brick_setup import (
    BrickOptions,
    asker,
    make_connector,
    properties_of,
    set_up,
)
from worker.volume.identity import Devices
from worker.volume.presence import (
    drop_controllers,
    mounted_at,
    nodes_of,
    paths_of,
    settled,
    shares_subsystem,
    wait_until_gone,
)
from worker.volume.protocols import SOURCES, Shape, check, disk_source, require_known
from worker.volume.qemu_img import virtual_size
from worker.volume.secrecy import hide, mask

_AGAIN = (ProcessExecutionError, TargetPortalNotFound, TargetPortalsNotFound)
"""What os-brick gives up at once; for a device that does not come it has tried again by itself."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0
_IMAGE_TIMEOUT = 30.0


class BrickConnector(Connector):
    """Volumes come and go through os-brick's connectors."""

    def __init__(self, *, host: str, my_ip: str, options: BrickOptions) -> None:
        self._host = host
        self._my_ip = my_ip
        self._options = options
        self._lock = threading.Lock()
        self._mounting = threading.Lock()
        self._properties: Mapping[str, Any] | None = None
        self._devices = Devices(asker(options))
        set_up(options)

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
        """Make the volume appear; raises ConnectFailed, ProtocolUnsupported.

        Without the password that the target asks for, one that is there already is answered.
        """
        check(connection)
        properties = self._told(connection)
        if _lacks_password(properties):
            return self._there(connection)
        with self._brick(connection, "connect", properties) as brick:
            device = self._connected(brick, connection.protocol, properties)
            path = os.fsdecode(device["path"])
        return disk_source(connection, self._settled(connection, [path]))

    def find(self, connection: Connection) -> HostVolume | None:
        """Return the volume as ``connect`` answers it, None where it is not on this host.

        Nothing is logged in to, mounted or scanned for. Raises ConnectFailed, ProtocolUnsupported.
        """
        require_known(connection.protocol)
        there = self._paths(connection)
        return disk_source(connection, self._settled(connection, there)) if there else None

    def _there(self, connection: Connection) -> HostVolume:
        found = self.find(connection)
        if found is None:
            message = "the target asks for a password, which only the volume service has"
            raise ConnectFailed(f"cannot connect over {connection.protocol}: {message}")
        return found

    def examine(self, volume: HostVolume) -> Seen:
        """Ask the file or the device itself; raises ConnectFailed, WrongDevice."""
        try:
            return self._seen(volume)
        except OSError as error:
            raise ConnectFailed(f"cannot read the size of {volume.source.name}: {error}") from error

    def extend(self, connection: Connection) -> int:
        """Have the host see how large the volume has become; return that in bytes.

        Raises ConnectFailed, ProtocolUnsupported.
        """
        require_known(connection.protocol)
        found = self.find(connection)
        if found is None:
            raise ConnectFailed(f"a volume over {connection.protocol} is not on this host")
        if isinstance(found.source, FileSource):
            return self.examine(found).size
        properties = self._told(connection)
        with self._brick(connection, "extend", properties) as brick:
            size = brick.extend_volume(properties)
        if size is None:
            raise ConnectFailed(f"os-brick did not say how large {found.source.name} has become")
        return int(size)

    def disconnect(self, connection: Connection, *, force: bool = False) -> None:
        """Make the volume disappear; raises ConnectFailed, ProtocolUnsupported."""
        require_known(connection.protocol)
        there = self._paths(connection)
        devices = nodes_of(there) if SOURCES[connection.protocol].goes else frozenset()
        stays = any(shares_subsystem(device.name) for device in devices)
        properties = self._told(connection)
        device = {"type": "block", "path": self._settled(connection, there)} if there else None
        with self._brick(connection, "disconnect", properties) as brick:
            brick.disconnect_volume(dict(properties), device, force=force)
            if not there:
                drop_controllers(brick, properties)
        if not stays:
            wait_until_gone(devices)

    def _told(self, connection: Connection) -> dict[str, Any]:
        """Return what os-brick is told; QEMU opens what is encrypted, and wants no link for it."""
        said = {**connection.properties, "enforce_multipath": self._options.enforce_multipath}
        said.pop("encrypted", None)
        told: dict[str, Any] = hide(said)
        return told

    @contextmanager
    def _brick(
        self, connection: Connection, what: str, properties: Mapping[str, Any]
    ) -> Iterator[Any]:
        with _translated(f"{what} over {connection.protocol}", properties):
            yield make_connector(connection.protocol, self._options)

    def _connected(self, brick: Any, protocol: str, properties: dict[str, Any]) -> Any:  # noqa: ANN401 - os-brick
        if SOURCES[protocol].mount is not None:
            mounted_at(self._options.mount_path, properties)
            # Of two that mount at once the second would mount over the first.
            with self._mounting:
                return brick.connect_volume(properties)
        retrying = Retrying(
            stop=stop_after_attempt(self._options.connect_attempts),
            wait=wait_random_exponential(multiplier=_FIRST_PAUSE, max=_LONGEST_PAUSE),
            retry=retry_if_exception_type(_AGAIN),
            reraise=True,
        )
        # It may change what it is told.
        return retrying(lambda: brick.connect_volume(dict(properties)))

    def _paths(self, connection: Connection) -> tuple[str, ...]:
        properties = self._told(connection)
        if SOURCES[connection.protocol].mount is not None:
            with _translated(f"look for a volume over {connection.protocol}", properties):
                path = mounted_at(self._options.mount_path, properties)
            return (path,) if Path(path).exists() else ()
        with self._brick(connection, "look for a volume", properties) as brick:
            return paths_of(brick, properties)

    def _settled(self, connection: Connection, paths: Sequence[str]) -> str:
        return settled(paths) if SOURCES[connection.protocol].shape is Shape.BLOCK else paths[0]

    def _read_properties(self) -> Mapping[str, Any]:
        found: dict[str, Any] = {
            "platform": platform.machine(),
            "os_type": sys.platform,
            "ip": self._my_ip,
            "host": self._host,
        }
        with _translated("read this host's connector properties", {}):
            return found | properties_of(self._host, self._options)

    def _seen(self, volume: HostVolume) -> Seen:
        match volume.source:
            case FileSource(path=path, format=DiskFormat.RAW):
                return Seen(size=Path(path).stat().st_size)
            case FileSource(path=path) as file:
                image = {"driver": file.format.value, "force-share": "on"}
                image |= {"file.driver": "file", "file.filename": path}
                return Seen(size=virtual_size(path, image, timeout=_IMAGE_TIMEOUT))
            case BlockSource(path=path):
                return self._devices.examine(path)
            case IscsiSource() | RbdSource():
                raise ConnectFailed(f"{volume.source.name} is no device of this host")
            case _:
                assert_never(volume.source)


def _lacks_password(properties: Mapping[str, Any]) -> bool:
    """Tell whether it was left out: a connection that is kept has no secret."""
    return bool(properties.get("auth_method")) and not properties.get("auth_password")


@contextmanager
def _translated(what: str, properties: Mapping[str, Any]) -> Iterator[None]:
    try:
        yield
    except WorkerError:
        raise
    except InvalidConnectorProtocol as error:
        raise ProtocolUnsupported(str(error)) from error
    except Exception as error:  # noqa: BLE001 - whatever its tools and its parsing raise
        # A failed command's text holds its arguments: a cause that shows a secret is left out.
        message = mask(str(error), properties)
        shows_secret = mask(repr(error), properties) != repr(error) or message != str(error)
        failure = ConnectFailed(f"cannot {what}: {type(error).__name__}: {message}")
        raise failure from None if shows_secret else error
