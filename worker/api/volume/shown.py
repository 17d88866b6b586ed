"""A volume of the pool in Cinder's words."""

from collections.abc import Iterable

from worker.api.asked import Asked, Json
from worker.api.volume.places import ZONE
from worker.model.volume import Volume
from worker.persistence.fleet.pool import Holder, Pooled


def summary(asked: Asked, seen: Pooled) -> Json:
    """Return what a short list says of the volume."""
    volume = seen.volume
    path = f"{asked.base}/v3/volumes/{volume.id}"
    links = [{"rel": rel, "href": path} for rel in ("self", "bookmark")]
    return {"id": volume.id, "name": volume.name, "links": links}


def detail(asked: Asked, seen: Pooled, holders: Iterable[Holder]) -> Json:
    """Return all that is said of the volume."""
    volume = seen.volume
    created = None if seen.created_at is None else seen.created_at.replace(tzinfo=None).isoformat()
    shown = summary(asked, seen) | {
        "status": volume.status.value,
        "size": volume.size_gib,
        "volume_type": type_of(volume),
        "multiattach": volume.multiattach,
        "encrypted": volume.encrypted,
        # Of what is in it nothing is known, and no guest is kept from trying.
        "bootable": "true",
        "attachments": [_attachment(asked, each) for each in holders if each.volume == volume.id],
        "availability_zone": ZONE,
        "created_at": created,
        "os-vol-tenant-attr:tenant_id": volume.project_id,
    }
    if asked.who.is_admin:
        shown["os-vol-host-attr:host"] = seen.host
    return shown | _NEVER


MULTIATTACH, ENCRYPTED = "multiattach", "encrypted"

TYPES: dict[str, frozenset[str]] = {
    "__DEFAULT__": frozenset(),
    MULTIATTACH: frozenset({MULTIATTACH}),
    ENCRYPTED: frozenset({ENCRYPTED}),
    f"{ENCRYPTED}-{MULTIATTACH}": frozenset({ENCRYPTED, MULTIATTACH}),
}
"""The types that there are, by what they make of a volume; clients have no other way to say it."""


def type_of(volume: Volume) -> str:
    """Return the type by which a volume like it is asked for."""
    said = {MULTIATTACH: volume.multiattach, ENCRYPTED: volume.encrypted}
    traits = frozenset(name for name, is_so in said.items() if is_so)
    return next(name for name, makes in TYPES.items() if makes == traits)


def _attachment(asked: Asked, holder: Holder) -> Json:
    shown: Json = {
        "id": holder.volume,
        "attachment_id": holder.attachment,
        "volume_id": holder.volume,
        "server_id": holder.instance,
        "device": holder.device_name,
        "attached_at": None,
    }
    if asked.who.is_admin:
        shown["host_name"] = holder.host
    return shown


_NEVER: Json = {
    "description": None,
    "metadata": {},
    "snapshot_id": None,
    "source_volid": None,
    "consistencygroup_id": None,
    "replication_status": None,
    "user_id": None,
    "updated_at": None,
}
"""What clients read and no volume of the pool has."""
