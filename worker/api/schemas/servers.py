"""Servers: queries, bodies, and what is answered."""

from worker.api.asked import Json
from worker.api.schemas.parts import ID, NUMBERS, TEXTS

FILTERS = frozenset(
    {
        *("name", "status", "vm_state", "host", "all_tenants", "project_id", "tenant_id"),
        *("limit", "marker", "sort_key", "sort_dir"),
    }
)
"""What a list of servers goes by."""

IGNORED = frozenset({"changes-since", "changes-before"})
"""What is taken and changes nothing: a list has every live server, and no other."""

NOVAS = (
    FILTERS
    | IGNORED
    | frozenset(
        {
            *("user_id", "launch_index", "image_ref", "image", "kernel_id", "ramdisk_id"),
            *("hostname", "key_name", "instance_type_id", "locked_by", "node", "access_ip_v4"),
            *("access_ip_v6", "availability_zone", "config_drive", "created_at", "description"),
            *("display_description", "display_name", "flavor", "ip", "ip6", "launched_at"),
            *("locked", "locked_reason", "power_state", "progress", "reservation_id"),
            *("root_device_name", "task_state", "terminated_at", "uuid", "auto_disk_config"),
            *("cleaned", "internal_id", "updated_at", "deleted", "soft_deleted", "tags"),
            *("tags-any", "not-tags", "not-tags-any", "pinned_availability_zone"),
        }
    )
)
"""What Nova's query may have."""

_PROPERTIES: Json = dict.fromkeys(sorted(NOVAS), TEXTS) | {"limit": NUMBERS}

QUERY: Json = {"type": "object", "properties": _PROPERTIES}
QUERY_275: Json = {**QUERY, "additionalProperties": False}
"""From 2.75 on a name that nobody knows is refused."""

_SHOWN: Json = {
    "type": "object",
    "properties": {"id": ID, "name": {"type": "string"}, "links": {"type": "array"}},
    "required": ["id", "name", "links"],
}
ONE: Json = {"type": "object", "properties": {"server": _SHOWN}, "required": ["server"]}
LISTED: Json = {
    "type": "object",
    "properties": {
        "servers": {"type": "array", "items": _SHOWN},
        "servers_links": {"type": "array"},
    },
    "required": ["servers"],
}
CREATED: Json = {
    "type": "object",
    "properties": {
        "server": {
            "type": "object",
            "properties": {
                "id": ID,
                "links": {"type": "array"},
                "OS-DCF:diskConfig": {"type": "string"},
                "security_groups": {"type": "array"},
            },
            "required": ["id", "links", "OS-DCF:diskConfig", "security_groups"],
        }
    },
    "required": ["server"],
}
