"""Cinder's answers in the worker's words."""

from collections.abc import Mapping
from typing import Any

from worker.model.connection import Connection
from worker.model.ids import AttachmentId, InstanceId, VolumeId
from worker.model.volume import GIB, Attachment, AttachmentStatus, Volume, VolumeStatus

Said = Mapping[str, Any]

PROTOCOL = "driver_volume_type"

OWNER = "os-vol-tenant-attr:tenant_id"
"""The project of a volume, which Cinder tells whoever may see all."""

_NOT_OF_THE_CONNECTION = frozenset({PROTOCOL, "attachment_id", "data"})
"""What Cinder mixes into the one level to which it has pressed a connection."""

_AS = {
    "attaching": AttachmentStatus.ATTACHING,
    "error_attaching": AttachmentStatus.ATTACHING,
    "attached": AttachmentStatus.ATTACHED,
    "error_detaching": AttachmentStatus.ATTACHED,
}
"""What an attachment's ``status`` stands for; any other says that nothing was exported yet."""

_MOVED = ("starting", "migrating", "completing", "target:")
"""How the ``migration_status`` begins of a volume that is moved, and of the one that it becomes."""

_STATUSES = {status.value: status for status in VolumeStatus}


def volume_of(said: Said) -> Volume:
    """Return the volume that Cinder's ``volume`` describes."""
    return Volume(
        id=VolumeId(said["id"]),
        size=int(said["size"]) * GIB,
        status=_volume_status(said["status"]),
        name=said.get("name") or "",
        volume_type=said.get("volume_type"),
        multiattach=said.get("multiattach") is True,
        encrypted=said.get("encrypted") is True,
        project_id=said.get(OWNER),
        migrating=_is_moved(said.get("migration_status") or ""),
    )


def attachment_of(said: Said, *, multiattach: bool) -> Attachment:
    """Return the attachment that Cinder's ``attachment`` describes.

    ``multiattach`` is the volume's, which Cinder does not say with the connection.
    """
    connected = is_connected(said)
    return Attachment(
        id=AttachmentId(said["id"]),
        volume=VolumeId(said["volume_id"]),
        instance=InstanceId(said["instance"]) if said.get("instance") else None,
        status=_AS.get(said["status"], AttachmentStatus.RESERVED),
        connection=(
            connection_in(said["connection_info"], multiattach=multiattach) if connected else None
        ),
    )


def is_connected(said: Said) -> bool:
    """Tell whether Cinder says how the volume is reached.

    An attachment that was only reserved may have a ``connection_info`` too: that of NFS has the
    format of the file in it, and nothing else.
    """
    return bool((said.get("connection_info") or {}).get(PROTOCOL))


def connection_in(info: Said, *, multiattach: bool) -> Connection:
    """Return the connection that Cinder's ``connection_info`` describes."""
    properties = {name: info[name] for name in info if name not in _NOT_OF_THE_CONNECTION}
    if multiattach:
        properties["multiattach"] = True
    return Connection(protocol=str(info[PROTOCOL]), properties=properties)


def _is_moved(word: str) -> bool:
    return word.startswith(_MOVED)


def _volume_status(word: str) -> VolumeStatus:
    return _STATUSES.get(
        word, VolumeStatus.ERROR if word.startswith("error") else VolumeStatus.OTHER
    )
