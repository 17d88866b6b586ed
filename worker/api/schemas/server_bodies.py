"""What a new server is asked for as, and what of one is changed."""

from worker.api.asked import Json
from worker.api.route import From
from worker.api.schemas.parts import ID, TAG

_TEXT: Json = {"type": "string", "maxLength": 255}
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
    "volume_id": ID,
    "image_id": {"type": "string", "pattern": "^[0-9A-Za-z][0-9A-Za-z._-]{0,199}$"},
    "snapshot_id": ID,
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
_32: Json = _19 | {"networks": _networks(tag=TAG), "block_device_mapping_v2": _disks(tag=TAG)}
_33: Json = _19 | {"networks": _networks(tag=TAG)}
_37: Json = _19 | {"networks": _or_word(_networks())}
_42: Json = _19 | {
    "networks": _or_word(_networks(tag=TAG)),
    "block_device_mapping_v2": _disks(tag=TAG),
}
_52: Json = _42 | {"tags": {"type": "array", "items": TAG, "maxItems": 50}}
_63: Json = _52 | {"trusted_image_certificates": {"type": ["array", "null"]}}
_67: Json = _63 | {"block_device_mapping_v2": _disks(tag=TAG, volume_type=_DESCRIPTION)}
_74: Json = _67 | {"host": _NAME, "hypervisor_hostname": _NAME}
_90: Json = _74 | {"hostname": _NAME}

CREATE = (
    From(schema=_creating(), minor=1),
    From(schema=_creating(**_19), minor=19),
    From(schema=_creating(**_32), minor=32),
    From(schema=_creating(**_33), minor=33),
    From(schema=_creating(**_37), minor=37),
    From(schema=_creating(**_42), minor=42),
    From(schema=_creating(**_52), minor=52),
    From(schema=_creating("personality", **_52), minor=57),
    From(schema=_creating("personality", **_63), minor=63),
    From(schema=_creating("personality", **_67), minor=67),
    From(schema=_creating("personality", **_74), minor=74),
    From(schema=_creating("personality", **_90), minor=90),
)
_UPDATED: Json = {
    "name": _NAME,
    "OS-DCF:diskConfig": {"type": "string", "enum": ["AUTO", "MANUAL"]},
    "accessIPv4": {"type": ["string", "null"], "maxLength": 39},
    "accessIPv6": {"type": ["string", "null"], "maxLength": 39},
}


def _updating(**more: Json) -> Json:
    return _closed({"server": _closed(_UPDATED | more)}, "server")


UPDATE = (
    From(schema=_updating(), minor=1),
    From(schema=_updating(**_19), minor=19),
    From(schema=_updating(**_19, hostname=_NAME), minor=90),
)
