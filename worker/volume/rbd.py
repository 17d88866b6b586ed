"""Images of Ceph: QEMU opens them by itself, and nothing of them appears on this host."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from worker.errors import ConnectFailed
from worker.model.connection import Connection
from worker.model.guest_secret import GuestSecret, SecretUse
from worker.model.source import HostVolume, RbdSource, Seen
from worker.ports import Connector
from worker.volume.protocols import treated
from worker.volume.qemu_img import LOGIN, login_of, virtual_size
from worker.volume.rbd_keys import RbdLogin, RbdLogins

PROTOCOL = "rbd"

_IMAGE = re.compile(r"(?P<pool>[^\s/@:\\]+)/(?P<image>[^\s/@:\\]+)")
_HOST = re.compile(r"\[?(?P<host>[\da-fA-F:.]+|[\w.-]+)\]?", re.ASCII)
_PORT = re.compile(r"\d{1,5}", re.ASCII)


class RbdImages(Connector):
    """Leaves images of Ceph to QEMU, and all other volumes to the ``host``'s own side.

    Who logs in is what ``logins`` says. A cluster that does not answer is given ``timeout``
    seconds.
    """

    def __init__(self, host: Connector, logins: RbdLogins, *, timeout: float = 30.0) -> None:
        self._host = host
        self._logins = logins
        self._timeout = timeout

    def properties(self) -> Mapping[str, Any]:
        """Return the host's own: Ceph wants to know nothing of it. Raises ConnectFailed."""
        return self._host.properties()

    def connect(self, connection: Connection) -> HostVolume:
        """Say where QEMU finds the image, and by which key; raises ConnectFailed.

        Whether it is there, and the key right, is found out when it is examined.
        """
        if connection.protocol != PROTOCOL:
            return self._host.connect(connection)
        return _volume(connection, self._logins.login(connection.properties))

    def find(self, connection: Connection) -> HostVolume | None:
        """Return where the image is: nothing on this host could be missing. Nobody logs in."""
        if connection.protocol != PROTOCOL:
            return self._host.find(connection)
        return _volume(connection, None)

    def examine(self, volume: HostVolume) -> Seen:
        """Ask the cluster for the size, anew; raises ConnectFailed. Nothing else is to be seen."""
        if not isinstance(volume.source, RbdSource):
            return self._host.examine(volume)
        login = login_of(volume.secrets)
        options = rbd_options(volume.source)
        size = virtual_size(volume.source.name, options, login, timeout=self._timeout)
        return Seen(size=size)

    def extend(self, connection: Connection) -> int:
        """Ask for the size by now: QEMU sees it by itself.

        Raises ConnectFailed, also where the connection lacks the user that it wants.
        """
        if connection.protocol != PROTOCOL:
            return self._host.extend(connection)
        return self.examine(self.connect(connection)).size

    def disconnect(self, connection: Connection, *, force: bool = False) -> None:
        """Leave it: QEMU has closed it. Raises what the host's side does for its protocols."""
        if connection.protocol != PROTOCOL:
            self._host.disconnect(connection, force=force)


def rbd_images(host: Connector, *, user: str | None, keyring: str | None) -> RbdImages:
    """Return the connector that the options ask for."""
    return RbdImages(host, RbdLogins(user=user, keyring=None if keyring is None else Path(keyring)))


def _volume(connection: Connection, login: RbdLogin | None) -> HostVolume:
    said = connection.properties
    name = _IMAGE.fullmatch(str(said.get("name", "")))
    if name is None:
        raise ConnectFailed(f"an rbd connection names a pool/image, not {said.get('name')!r}")
    source = RbdSource(
        pool=name["pool"],
        image=name["image"],
        hosts=_monitors(said),
        user=None if login is None else login.user,
    )
    secrets = () if login is None else (GuestSecret(use=SecretUse.CEPH, value=login.key),)
    return replace(treated(connection, source), secrets=secrets)


def _monitors(said: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    """Return where the monitors listen; libvirt wants an IPv6 address without its brackets."""
    hosts, ports = said.get("hosts"), said.get("ports")
    if not isinstance(hosts, list) or not isinstance(ports, list) or not hosts:
        raise ConnectFailed("an rbd connection lists the monitors' hosts and ports")
    if len(hosts) != len(ports):
        message = f"an rbd connection has {len(hosts)} monitors and {len(ports)} ports"
        raise ConnectFailed(message)
    return tuple(map(_monitor, hosts, ports))


def _monitor(host: object, port: object) -> tuple[str, int]:
    found = _HOST.fullmatch(str(host))
    if found is None or not _PORT.fullmatch(str(port)):
        raise ConnectFailed(f"{host!r} port {port!r} is no monitor's address")
    return found["host"], int(str(port))


def rbd_options(source: RbdSource) -> dict[str, object]:
    """Say how to log in, or that nobody does: librados would come as the host's administrator."""
    said: dict[str, object] = {"driver": "rbd", "pool": source.pool, "image": source.image}
    for number, (host, port) in enumerate(source.hosts):
        said |= {f"server.{number}.host": host, f"server.{number}.port": port}
    if source.user is None:
        return said | {"auth-client-required.0": "none"}
    return said | {
        "user": source.user,
        "key-secret": LOGIN,
        "auth-client-required.0": "cephx",
    }
