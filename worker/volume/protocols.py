"""One table: the protocol of a connection, and what libvirt is given as a disk's source.

A protocol is one line in ``SOURCES``. How a source is treated follows from that line, from its
shape, and from the properties that the volume service sent along.
"""

import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from worker.errors import ConnectFailed, ProtocolUnsupported
from worker.model.connection import Connection
from worker.model.guest_secret import GuestSecret, SecretUse
from worker.model.secret import Secret
from worker.model.source import (
    ISCSI_PORT,
    BlockSource,
    DiskFormat,
    DiskSource,
    FileSource,
    HostVolume,
    IscsiSource,
)
from worker.volume.treatment import by_looking, check_treatment, options_of

ISCSI_NAME = re.compile(r"(?:iqn|eui|naa)\.[\w.:-]+", re.ASCII)
"""What a target or an initiator is called (RFC 3720), without what would end a word elsewhere."""

_PORTAL = re.compile(
    r"(?:\[(?P<six>[\da-fA-F:.]+)\]|(?P<host>[\w.-]+))(?::(?P<port>\d{1,5}))?", re.ASCII
)
_LUN = re.compile(r"\d{1,5}", re.ASCII)


class Shape(StrEnum):
    """As what a volume appears on this host."""

    BLOCK = "block device"
    FILE = "regular file"
    EITHER = "block device or regular file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How a protocol's volumes appear on this host, and how QEMU is to treat them.

    ``mount`` is os-brick's type of the file system that has the volume. With ``formats`` the
    connection says how the file holds the disk. ``goes`` means that a disconnect takes the
    device away; elsewhere the storage does, later, or nothing was ever made.
    """

    shape: Shape
    cache: str = "none"
    io: str | None = None
    mount: str | None = None
    formats: bool = False
    goes: bool = False


_SCSI = Protocol(shape=Shape.BLOCK, io="native", goes=True)
_NVME = Protocol(shape=Shape.BLOCK, goes=True)

SOURCES: Mapping[str, Protocol] = {
    "fibre_channel": _SCSI,
    "glusterfs": Protocol(shape=Shape.FILE, mount="glusterfs", formats=True),
    "gpfs": Protocol(shape=Shape.FILE),
    "iscsi": _SCSI,
    "iser": _SCSI,
    "lightos": Protocol(shape=Shape.BLOCK),
    "local": Protocol(shape=Shape.EITHER),
    "nfs": Protocol(shape=Shape.FILE, io="native", mount="nfs", formats=True),
    "nvme": _NVME,
    "nvmeof": _NVME,
    "quobyte": Protocol(shape=Shape.FILE, io="native", mount="quobyte"),
    "scaleio": Protocol(shape=Shape.BLOCK, io="native"),
    "smbfs": Protocol(shape=Shape.FILE, cache="writeback", mount="cifs", formats=True),
    "storpool": Protocol(shape=Shape.BLOCK, io="native"),
    "vzstorage": Protocol(shape=Shape.FILE, cache="writeback", mount="vzstorage", formats=True),
}
"""The protocols that os-brick connects; the values are those that Nova gives its guests."""


def _at(connection: Connection, device_path: str | None) -> DiskSource:
    if not device_path:
        raise ConnectFailed(f"no device_path for a {connection.protocol} connection")
    shape = SOURCES[connection.protocol].shape
    mode = _mode(device_path)
    if stat.S_ISBLK(mode) and shape is not Shape.FILE:
        return BlockSource(path=device_path)
    if stat.S_ISREG(mode) and shape is not Shape.BLOCK:
        return FileSource(path=device_path, format=_format(connection))
    raise ConnectFailed(f"{device_path}: no {shape.value}")


def _mode(path: str) -> int:
    try:
        return Path(path).stat().st_mode
    except OSError as error:
        raise ConnectFailed(f"{path}: {error.strerror}") from error


def _format(connection: Connection) -> DiskFormat:
    said = connection.properties.get("format") or DiskFormat.RAW
    if not SOURCES[connection.protocol].formats:
        return DiskFormat.RAW
    try:
        return DiskFormat(said)
    except ValueError:
        known = ", ".join(DiskFormat)
        message = f"{connection.protocol} connection has format {said!r}; known: {known}"
        raise ProtocolUnsupported(message) from None


def _iscsi(connection: Connection, initiator: str) -> DiskSource:
    said = connection.properties
    address, iqn, lun = (str(said.get(f"target_{name}", "")) for name in ("portal", "iqn", "lun"))
    portal = _PORTAL.fullmatch(address)
    if portal is None or not ISCSI_NAME.fullmatch(iqn) or not _LUN.fullmatch(lun):
        raise ConnectFailed(
            "an iscsi connection names a portal, a target and the number of a LUN, and not"
            f" {address!r}, {iqn!r}, {lun!r}"
        )
    return IscsiSource(
        host=portal["six"] or portal["host"],
        port=int(portal["port"] or ISCSI_PORT),
        iqn=iqn,
        lun=int(lun),
        initiator=initiator,
        user=_chap_user(said),
    )


def _chap_user(said: Mapping[str, Any]) -> str | None:
    """Return who logs in; without the secrets it is nobody, for whom no target is asked then."""
    method = said.get("auth_method")
    if method not in (None, "", "CHAP"):
        raise ProtocolUnsupported(f"the target wants {method!r}; CHAP is what QEMU speaks")
    return str(said["auth_username"]) if method and said.get("auth_username") else None


def _secrets(connection: Connection) -> tuple[GuestSecret, ...]:
    password = connection.properties.get("auth_password")
    if connection.protocol != "iscsi" or not password:
        return ()
    return (GuestSecret(use=SecretUse.ISCSI, value=Secret(str(password))),)


QEMU_SOURCES: Mapping[str, Callable[[Connection, str], DiskSource]] = {
    "iscsi": _iscsi,
}
"""Protocols that QEMU speaks by itself, where it is told to: the host connects nothing."""


def require_known(protocol: str) -> None:
    """Raise ProtocolUnsupported, naming the known ones, unless the table has the protocol."""
    if protocol not in SOURCES:
        known = ", ".join(sorted(SOURCES))
        raise ProtocolUnsupported(f"cannot connect volumes over {protocol!r}; known: {known}")


def check(connection: Connection) -> None:
    """Raise ProtocolUnsupported for what a connected volume would be refused with."""
    require_known(connection.protocol)
    _format(connection)
    check_treatment(connection)


def disk_source(connection: Connection, device_path: str | None) -> HostVolume:
    """Say where a connected volume is on this host and how it wants to be treated.

    ``device_path`` is the connector's answer, None where nothing appears on the host. Raises
    ProtocolUnsupported, ConnectFailed when there is no such device.
    """
    require_known(connection.protocol)
    source, protocol = _at(connection, device_path), SOURCES[connection.protocol]
    if protocol.shape is Shape.EITHER:
        return treated(connection, source)
    options = options_of(connection, source, cache=protocol.cache, io=protocol.io)
    return HostVolume(source=source, options=options)


def qemu_source(connection: Connection, initiator: str) -> HostVolume:
    """Say where QEMU finds a volume by itself, and how it wants to be treated.

    ``initiator`` is the name it logs in by. Raises ConnectFailed for an address that is none,
    ProtocolUnsupported.
    """
    volume = treated(connection, QEMU_SOURCES[connection.protocol](connection, initiator))
    return replace(volume, secrets=_secrets(connection))


def treated(connection: Connection, source: DiskSource) -> HostVolume:
    """Say how a source wants to be treated, by what it is and what its connection says beside it.

    Raises ProtocolUnsupported.
    """
    cache, io = by_looking(source)
    return HostVolume(source=source, options=options_of(connection, source, cache=cache, io=io))
