"""Volumes whose content is LUKS, which QEMU opens: looked into before a guest is given one.

The header is read by QEMU's own driver, without the key. What has none is refused and never
formatted: an attach that formats what it does not understand has cost others their data.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, assert_never

from worker.errors import ConnectFailed, EncryptionUnsupported, NotLuks
from worker.model.connection import Connection
from worker.model.source import (
    BlockSource,
    DiskSource,
    FileSource,
    HostVolume,
    IscsiSource,
    RbdSource,
    Seen,
)
from worker.ports import Connector
from worker.volume.qemu_img import login_of, virtual_size
from worker.volume.qemu_initiator import iscsi_options
from worker.volume.rbd import rbd_options

_REFUSALS: Mapping[str, type[NotLuks] | type[EncryptionUnsupported]] = {
    "is not in LUKS format": NotLuks,
    "LUKS version": EncryptionUnsupported,
}
"""What QEMU says of a header that it does not open (its ``crypto/block-luks.c``)."""


class EncryptedVolumes(Connector):
    """Leaves all volumes to the ``host``'s side, and looks into those that are to be opened.

    What does not answer is given ``timeout`` seconds.
    """

    def __init__(self, host: Connector, *, timeout: float = 30.0) -> None:
        self._host = host
        self._timeout = timeout

    def properties(self) -> Mapping[str, Any]:
        """Return the host's own."""
        return self._host.properties()

    def connect(self, connection: Connection) -> HostVolume:
        """Do as the host's side does."""
        return self._host.connect(connection)

    def find(self, connection: Connection) -> HostVolume | None:
        """Do as the host's side does."""
        return self._host.find(connection)

    def examine(self, volume: HostVolume) -> Seen:
        """Add how many bytes a guest will see of what is encrypted.

        Raises NotLuks for what has no such header, EncryptionUnsupported for one that QEMU does not
        open, and what the host's side does.
        """
        seen = self._host.examine(volume)
        return replace(seen, payload=self._payload(volume)) if volume.encrypted else seen

    def extend(self, connection: Connection) -> int:
        """Do as the host's side does."""
        return self._host.extend(connection)

    def disconnect(self, connection: Connection, *, force: bool = False) -> None:
        """Do as the host's side does."""
        self._host.disconnect(connection, force=force)

    def _payload(self, volume: HostVolume) -> int:
        inner = {f"file.{name}": value for name, value in _options(volume.source).items()}
        options = {"driver": "luks", **inner}
        try:
            return virtual_size(
                volume.source.name, options, login_of(volume.secrets), timeout=self._timeout
            )
        except ConnectFailed as error:
            raise _refusal(volume, error) from error


def _refusal(volume: HostVolume, error: ConnectFailed) -> Exception:
    for words, kind in _REFUSALS.items():
        if words in str(error):
            return kind(f"{volume.source.name} cannot be opened as LUKS: {error}")
    return error


def _options(source: DiskSource) -> Mapping[str, object]:
    match source:
        case FileSource():
            return {"driver": "file", "filename": source.path}
        case BlockSource():
            return {"driver": "host_device", "filename": source.path}
        case IscsiSource():
            return iscsi_options(source)
        case RbdSource():
            return rbd_options(source)
        case _:
            assert_never(source)
