"""What the pool's volumes look like to a host: files, or LUNs of a target."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from worker.errors import RequestMalformed
from worker.model.connection import Connection
from worker.model.ids import AttachmentId
from worker.model.volume import Attachment, PoolVolume


class Face(ABC):
    """One protocol of the pool. A kept attachment has its connection without secrets."""

    @abstractmethod
    def alone(self) -> AbstractContextManager[object]:
        """Keep what is exported and what is remembered from being changed by others."""

    @abstractmethod
    def validate(self, connector: Mapping[str, Any]) -> None:
        """Raise RequestMalformed for a connector that could not reach a volume."""

    @abstractmethod
    def connection(self, record: PoolVolume, connector: Mapping[str, Any]) -> Connection:
        """Return the connection to keep; raises VolumeServiceUnavailable."""

    @abstractmethod
    def export(self, record: PoolVolume, held: Sequence[Attachment]) -> None:
        """Have exactly those attachments reach the volume; done again it changes nothing.

        Raises VolumeServiceUnavailable, VolumeFileUnusable.
        """

    @abstractmethod
    def withdraw(
        self, record: PoolVolume, leaving: AttachmentId, held: Sequence[Attachment]
    ) -> None:
        """Have one reach the volume no more, ``held`` being those who stay.

        Raises VolumeServiceUnavailable.
        """

    @abstractmethod
    def grown(self, record: PoolVolume, held: Sequence[Attachment]) -> None:
        """Have the volume's new size seen by who connects from now on, or again.

        Raises VolumeServiceUnavailable.
        """

    @abstractmethod
    def opened(self, attachment: AttachmentId, kept: Connection) -> Connection:
        """Return the attachment's connection with its secrets."""


class LocalFace(Face):
    """Files of ``host``, which are reached by their path and from nowhere else."""

    def __init__(self, host: str) -> None:
        self._host = host

    def alone(self) -> AbstractContextManager[object]:
        """Keep nothing: there is no export beside the rows."""
        return nullcontext()

    def validate(self, connector: Mapping[str, Any]) -> None:
        """Raise RequestMalformed for a connector of another host."""
        host = connector.get("host")
        if host != self._host:
            raise RequestMalformed(
                f"connector of host {host!r}: the pool's volumes are files of {self._host!r}"
            )

    def connection(self, record: PoolVolume, _connector: Mapping[str, Any]) -> Connection:
        """Return the path."""
        properties: dict[str, Any] = {
            "device_path": record.path,
            "access_mode": "rw",
            "volume_id": record.volume.id,
        }
        if record.volume.encrypted:
            properties["encrypted"] = True
        return Connection(protocol="local", properties=properties | treatment(record))

    def export(self, record: PoolVolume, held: Sequence[Attachment]) -> None:
        """Leave the file where it is."""

    def withdraw(
        self, record: PoolVolume, leaving: AttachmentId, held: Sequence[Attachment]
    ) -> None:
        """Leave the file where it is."""

    def grown(self, record: PoolVolume, held: Sequence[Attachment]) -> None:
        """Leave it: the file shows its size to who asks."""

    def opened(self, _attachment: AttachmentId, kept: Connection) -> Connection:
        """Return it: a path has no secret."""
        return kept


def treatment(record: PoolVolume) -> dict[str, Any]:
    """Return what a connection says, over whatever protocol, of how the volume is treated."""
    shared = {"multiattach": True} if record.volume.multiattach else {}
    return {**record.options, **shared}
