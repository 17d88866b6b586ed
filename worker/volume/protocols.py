"""One table: the protocol of a connection, and what libvirt is given as a disk's source.

A protocol is one line in ``SOURCES``. How a source is treated follows from its shape and from
the properties that the volume service sent along.
"""

import mmap
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, assert_never

from worker.errors import ConnectFailed, ProtocolUnsupported
from worker.model.connection import Connection
from worker.model.guest_secret import GuestSecret, SecretUse
from worker.model.secret import Secret
from worker.model.source import (
    ISCSI_PORT,
    BlockSource,
    DiskOptions,
    DiskSource,
    FileSource,
    HostVolume,
    IscsiSource,
    RbdSource,
)

READ_ONLY = {"ro": True, "rw": False}
"""What a volume service may say as ``access_mode``."""

_PROBE_BYTES = 4096

ISCSI_NAME = re.compile(r"(?:iqn|eui|naa)\.[\w.:-]+", re.ASCII)
"""What a target or an initiator is called (RFC 3720), without what would end a word elsewhere."""

_PORTAL = re.compile(
    r"(?:\[(?P<six>[\da-fA-F:.]+)\]|(?P<host>[\w.-]+))(?::(?P<port>\d{1,5}))?", re.ASCII
)
_LUN = re.compile(r"\d{1,5}", re.ASCII)


def _by_looking(connection: Connection, device_path: str | None) -> DiskSource:
    if not device_path:
        raise ConnectFailed(f"no device_path for a {connection.protocol} connection")
    try:
        mode = Path(device_path).stat().st_mode
    except OSError as error:
        raise ConnectFailed(f"{device_path}: {error.strerror}") from error
    if stat.S_ISBLK(mode):
        return BlockSource(path=device_path)
    if stat.S_ISREG(mode):
        return FileSource(path=device_path)
    raise ConnectFailed(f"{device_path}: neither a block device nor a regular file")


SOURCES: Mapping[str, Callable[[Connection, str | None], DiskSource]] = {
    "local": _by_looking,
}


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
    _read_only(connection)


def disk_source(connection: Connection, device_path: str | None) -> HostVolume:
    """Say where a connected volume is on this host and how it wants to be treated.

    ``device_path`` is the connector's answer, None where nothing appears on the host. Raises
    ProtocolUnsupported, ConnectFailed when there is no such device.
    """
    require_known(connection.protocol)
    return treated(connection, SOURCES[connection.protocol](connection, device_path))


def qemu_source(connection: Connection, initiator: str) -> HostVolume:
    """Say where QEMU finds a volume by itself, and how it wants to be treated.

    ``initiator`` is the name it logs in by. Raises ConnectFailed for an address that is none,
    ProtocolUnsupported.
    """
    volume = treated(connection, QEMU_SOURCES[connection.protocol](connection, initiator))
    return replace(volume, secrets=_secrets(connection))


def treated(connection: Connection, source: DiskSource) -> HostVolume:
    """Say how a source wants to be treated, by what its connection says beside it.

    Raises ProtocolUnsupported.
    """
    read_only = _read_only(connection)
    cache, io = _cache_and_io(source)
    options = DiskOptions(
        cache=cache,
        io=io,
        discard="unmap" if connection.properties.get("discard") is True else None,
        read_only=read_only,
        shareable=connection.properties.get("multiattach") is True,
    )
    return HostVolume(source=source, options=options)


def _read_only(connection: Connection) -> bool:
    mode = connection.properties.get("access_mode", "rw")
    if not isinstance(mode, str) or mode not in READ_ONLY:
        known = ", ".join(sorted(READ_ONLY))
        raise ProtocolUnsupported(
            f"{connection.protocol} connection has access mode {mode!r}; known: {known}"
        )
    return READ_ONLY[mode]


def _cache_and_io(source: DiskSource) -> tuple[str, str | None]:
    match source:
        case IscsiSource() | RbdSource():
            return "none", None
        case BlockSource():
            return "none", "native"
        case FileSource(path=path) if not _takes_direct_io(path):
            # `none` opens with O_DIRECT and would fail there (Launchpad bug 1801702).
            return "writeback", None
        case FileSource(path=path):
            # Linux AIO blocks the guest's other I/O while a hole is filled.
            return "none", "native" if _is_allocated(path) else None
        case _:
            assert_never(source)


def _takes_direct_io(path: str) -> bool:
    """Read once with O_DIRECT: some filesystems accept the open and refuse the read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Direct I/O wants an aligned buffer; a mapping starts on a page.
        with mmap.mmap(-1, _PROBE_BYTES) as buffer:
            os.preadv(descriptor, [buffer], 0)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)


def _is_allocated(path: str) -> bool:
    state = Path(path).stat()
    return state.st_blocks * 512 >= state.st_size
