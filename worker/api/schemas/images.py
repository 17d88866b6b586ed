"""``/v2/images``."""

from worker.api.asked import Json

_TEXTS: Json = {"type": "array", "items": {"type": "string", "maxLength": 8190}}

QUERY: Json = {
    "type": "object",
    "properties": {"limit": {"type": "array", "items": {"pattern": "^[0-9]{1,9}$"}}},
    "additionalProperties": _TEXTS,
}
"""Any name is a filter, by a property of that name if it is no word of Glance's."""

_TEXT: Json = {"type": ["string", "null"]}

ONE: Json = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "name": {"type": "string"},
        "status": {"enum": ["active"]},
        "disk_format": {"type": "string"},
        "container_format": {"type": "string"},
        "size": {"type": ["integer", "null"]},
        "virtual_size": {"type": "null"},
        "min_disk": {"type": "integer"},
        "min_ram": {"type": "integer"},
        "visibility": {"enum": ["public"]},
        "protected": {"type": "boolean"},
        "os_hidden": {"type": "boolean"},
        "owner": {"type": "null"},
        "checksum": {"type": "null"},
        "os_hash_algo": _TEXT,
        "os_hash_value": _TEXT,
        "created_at": _TEXT,
        "updated_at": _TEXT,
        "tags": {"type": "array"},
        "self": {"type": "string"},
        "schema": {"type": "string"},
    },
    "required": ["id", "name", "status", "disk_format", "size", "min_disk", "min_ram"],
    # An image's properties are beside its fields.
    "additionalProperties": {"type": "string"},
}
LISTED: Json = {
    "type": "object",
    "properties": {
        "images": {"type": "array", "items": ONE},
        "first": {"type": "string"},
        "next": {"type": "string"},
        "schema": {"type": "string"},
    },
    "required": ["images"],
}
