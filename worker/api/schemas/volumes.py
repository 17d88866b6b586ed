"""``/v3/volumes``."""

from worker.api.asked import Json
from worker.api.schemas.parts import NUMBERS, TEXTS

_TEXT: Json = {"type": ["string", "null"], "maxLength": 255}

_MOST_GIB = (1 << 33) - 1

_GIB: Json = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": _MOST_GIB},
        {"type": "string", "pattern": "^[1-9][0-9]{0,8}$"},
    ]
}

QUERY: Json = {
    "type": "object",
    "properties": {
        "name": TEXTS,
        "status": TEXTS,
        "project_id": TEXTS,
        "all_tenants": TEXTS,
        "marker": TEXTS,
        "limit": NUMBERS,
    },
    "additionalProperties": False,
}

DELETING: Json = {
    "type": "object",
    "properties": {"cascade": TEXTS, "force": TEXTS},
    "additionalProperties": False,
}

CREATE: Json = {
    "type": "object",
    "properties": {
        "volume": {
            "type": "object",
            "properties": {
                "size": _GIB,
                "name": _TEXT,
                "volume_type": _TEXT,
                "availability_zone": _TEXT,
                "multiattach": {"type": ["boolean", "null"]},
                "metadata": {"type": ["object", "null"]},
                "description": _TEXT,
                "snapshot_id": _TEXT,
                "source_volid": _TEXT,
                "imageRef": _TEXT,
                "backup_id": _TEXT,
                "consistencygroup_id": _TEXT,
                "group_id": _TEXT,
            },
            "required": ["size"],
            "additionalProperties": {"type": "null"},
        }
    },
    "required": ["volume"],
    "additionalProperties": False,
}

ACTION: Json = {
    "type": "object",
    "properties": {
        "os-extend": {
            "type": "object",
            "properties": {"new_size": _GIB},
            "required": ["new_size"],
            "additionalProperties": False,
        }
    },
    "minProperties": 1,
    "maxProperties": 1,
}

_ATTACHMENT: Json = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "attachment_id": {"type": ["string", "null"]},
        "volume_id": {"type": "string"},
        "server_id": {"type": "string"},
        "host_name": {"type": "string"},
        "device": {"type": "string"},
        "attached_at": {"type": "null"},
    },
    "required": ["volume_id", "server_id", "device"],
    "additionalProperties": False,
}

_VOLUME: Json = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "name": {"type": "string"},
        "links": {"type": "array"},
        "status": {"type": "string"},
        "size": {"type": "integer"},
        "volume_type": {"type": "string"},
        "multiattach": {"type": "boolean"},
        "encrypted": {"type": "boolean"},
        "bootable": {"enum": ["true"]},
        "attachments": {"type": "array", "items": _ATTACHMENT},
        "availability_zone": {"type": "string"},
        "created_at": {"type": ["string", "null"]},
        "updated_at": {"type": "null"},
        "os-vol-tenant-attr:tenant_id": {"type": ["string", "null"]},
        "os-vol-host-attr:host": {"type": ["string", "null"]},
        "description": {"type": "null"},
        "metadata": {"type": "object"},
        "snapshot_id": {"type": "null"},
        "source_volid": {"type": "null"},
        "consistencygroup_id": {"type": "null"},
        "replication_status": {"type": "null"},
        "user_id": {"type": "null"},
    },
    "required": ["id", "name", "links"],
    "additionalProperties": False,
}

ONE: Json = {"type": "object", "properties": {"volume": _VOLUME}, "required": ["volume"]}
LISTED: Json = {
    "type": "object",
    "properties": {
        "volumes": {"type": "array", "items": _VOLUME},
        "volumes_links": {"type": "array"},
    },
    "required": ["volumes"],
}
