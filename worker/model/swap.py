"""The other side of a volume that gives its place to another one."""

from dataclasses import dataclass

from worker.model.connection import Connection
from worker.model.ids import AttachmentId, BlockDeviceId, VolumeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """Until the guest goes over the volume that it is to have, and after that the one it had.

    ``uuid`` stands for no row: it names the record of this side's connection, beside the row's own.
    The connection is without its secrets.
    """

    uuid: BlockDeviceId
    volume: VolumeId
    attachment: AttachmentId | None = None
    connection: Connection | None = None
    wwid: str | None = None
