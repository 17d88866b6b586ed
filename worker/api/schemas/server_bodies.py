"""What a new server is asked for as, and what of one is changed."""

from worker.api.asked import Json

_TEXT: Json = {"type": "string", "maxLength": 255}
_ID: Json = {"type": "string", "pattern": "^[0-9a-fA-F-]{36}$"}
_BOOLEAN: Json = {
    "anyOf": [
        {"type": "boolean"},
        {
            "type": "string",
            "enum": [
                *("True", "TRUE", "true", "1", "ON", "On", "on"),
                *("YES", "Yes", "yes", "y", "t", "False", "FALSE", "false"),
                *("0", "OFF", "Off", "off", "NO", "No", "no", "n", "f"),
            ],
        },
    ]
}
_COUNT: Json = {
    "type": ["integer", "string"],
    "pattern": "^[0-9]{1,9}$",
    "minimum": 1,
}
_TAG: Json = {"type": "string", "minLength": 1, "maxLength": 60, "pattern": "^[^,/]*$"}
_NAME: Json = {"type": "string", "minLength": 1, "maxLength": 255}
_METADATA: Json = {
    "type": "object",
    "propertyNames": {"minLength": 1, "maxLength": 255, "pattern": r"^[a-zA-Z0-9-_:. ]+$"},
    "additionalProperties": {"type": "string", "maxLength": 255},
    "maxProperties": 128,
}


def _closed(properties: Json, *required: str) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


_DISK: Json = {
    "source_type": {"type": "string", "enum": ["volume", "image", "snapshot", "blank"]},
    "uuid": {"type": ["string", "null"], "maxLength": 255, "pattern": "^[a-zA-Z0-9._-]*$"},
    "volume_id": _ID,
    "image_id": {"type": "string", "pattern": "^[0-9A-Za-z][0-9A-Za-z._-]{0,199}$"},
    "snapshot_id": _ID,
    "destination_type": {"type": "string", "enum": ["local", "volume"]},
    "guest_format": {"type": ["string", "null"], "maxLength": 255},
    "device_type": {"type": ["string", "null"], "maxLength": 255},
    "device_name": {"type": ["string", "null"], "maxLength": 255},
    "disk_bus": {"type": ["string", "null"], "maxLength": 255},
    "boot_index": {"type": ["integer", "string", "null"], "pattern": "^-?[0-9]{1,9}$"},
    "volume_size": {
        "type": ["integer", "string", "null"],
        "pattern": "^[0-9]{1,9}$",
        "minimum": 1,
        "maximum": 2147483647,
    },
    "delete_on_termination": _BOOLEAN,
    "no_device": {},
    "virtual_name": _TEXT,
}


def _disks(**more: Json) -> Json:
    return {"type": "array", "maxItems": 256, "items": _closed(_DISK | more, "source_type")}


def _networks(**more: Json) -> Json:
    one = {"uuid": {"type": "string"}, "port": {"type": ["string", "null"]}, "fixed_ip": _TEXT}
    return {"type": "array", "maxItems": 64, "items": _closed(one | more)}


def _or_word(networks: Json) -> Json:
    return {"anyOf": [networks, {"type": "string", "enum": ["none", "auto"]}]}


_SERVER: Json = {
    "name": _NAME,
    "imageRef": {"type": "string", "maxLength": 1024},
    "flavorRef": {"type": ["string", "integer"], "minLength": 1, "maxLength": 1024},
    "adminPass": {"type": "string", "maxLength": 255},
    "metadata": _METADATA,
    "networks": _networks(),
    "OS-DCF:diskConfig": {"type": "string", "enum": ["AUTO", "MANUAL"]},
    "accessIPv4": {"type": ["string", "null"], "maxLength": 39},
    "accessIPv6": {"type": ["string", "null"], "maxLength": 39},
    "personality": {"type": "array"},
    "availability_zone": _NAME,
    "block_device_mapping": {"type": "array"},
    "block_device_mapping_v2": _disks(),
    "config_drive": _BOOLEAN,
    "key_name": {"type": ["string", "null"], "maxLength": 255},
    "min_count": _COUNT,
    "max_count": _COUNT,
    "return_reservation_id": _BOOLEAN,
    "security_groups": {"type": "array", "items": _closed({"name": _NAME})},
    "user_data": {"type": ["string", "null"], "maxLength": 65535},
}
_DESCRIPTION: Json = {"type": ["string", "null"], "maxLength": 255}
_HINTS: Json = {"type": "object"}


def _creating(*without: str, **more: Json) -> Json:
    fields = {name: value for name, value in (_SERVER | more).items() if name not in without}
    needed = ("networks",) if "anyOf" in fields["networks"] else ()
    return _closed(
        {
            "server": _closed(fields, "name", "flavorRef", *needed),
            "os:scheduler_hints": _HINTS,
            "OS-SCH-HNT:scheduler_hints": _HINTS,
        },
        "server",
    )


_19: Json = {"description": _DESCRIPTION}
_32: Json = _19 | {"networks": _networks(tag=_TAG), "block_device_mapping_v2": _disks(tag=_TAG)}
_33: Json = _19 | {"networks": _networks(tag=_TAG)}
_37: Json = _19 | {"networks": _or_word(_networks())}
_42: Json = _19 | {
    "networks": _or_word(_networks(tag=_TAG)),
    "block_device_mapping_v2": _disks(tag=_TAG),
}
_52: Json = _42 | {"tags": {"type": "array", "items": _TAG, "maxItems": 50}}
_63: Json = _52 | {"trusted_image_certificates": {"type": ["array", "null"]}}
_67: Json = _63 | {"block_device_mapping_v2": _disks(tag=_TAG, volume_type=_DESCRIPTION)}
_74: Json = _67 | {"host": _NAME, "hypervisor_hostname": _NAME}
_90: Json = _74 | {"hostname": _NAME}

CREATE: tuple[tuple[int, Json], ...] = (
    (1, _creating()),
    (19, _creating(**_19)),
    (32, _creating(**_32)),
    (33, _creating(**_33)),
    (37, _creating(**_37)),
    (42, _creating(**_42)),
    (52, _creating(**_52)),
    (57, _creating("personality", **_52)),
    (63, _creating("personality", **_63)),
    (67, _creating("personality", **_67)),
    (74, _creating("personality", **_74)),
    (90, _creating("personality", **_90)),
)
"""By the minor microversion from which on they count."""

_UPDATED: Json = {
    "name": _NAME,
    "OS-DCF:diskConfig": {"type": "string", "enum": ["AUTO", "MANUAL"]},
    "accessIPv4": {"type": ["string", "null"], "maxLength": 39},
    "accessIPv6": {"type": ["string", "null"], "maxLength": 39},
}

UPDATE: tuple[tuple[int, Json], ...] = tuple(
    (minor, _closed({"server": _closed(_UPDATED | more)}, "server"))
    for minor, more in (
        (1, {}),
        (19, _19),
        (90, _19 | {"hostname": _NAME}),
    )
)
