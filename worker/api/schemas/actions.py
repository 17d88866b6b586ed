"""Actions on servers."""

from worker.api.asked import Json

_NOTHING: Json = {"type": ["null", "object", "string"]}

_TYPES = ("HARD", "Hard", "hard", "SOFT", "Soft", "soft")

_REBOOT: Json = {
    "type": "object",
    "properties": {"type": {"type": "string", "enum": list(_TYPES)}},
    "required": ["type"],
    "additionalProperties": False,
}
_RESCUE: Json = {
    "type": ["object", "null"],
    "properties": {
        "adminPass": {"type": "string", "minLength": 1, "maxLength": 255},
        # A UUID, or the name of a file where the images are a folder.
        "rescue_image_ref": {"type": "string", "pattern": "^[0-9A-Za-z][0-9A-Za-z._-]{0,199}$"},
    },
    "additionalProperties": False,
}

ACTION: Json = {
    "type": "object",
    "properties": {
        "os-start": _NOTHING,
        "os-stop": _NOTHING,
        "reboot": _REBOOT,
        "rescue": _RESCUE,
        "unrescue": _NOTHING,
        "forceDelete": _NOTHING,
    },
    "minProperties": 1,
    "maxProperties": 1,
}
"""Others are refused by name, so that the message can say which there are."""

RESCUED: Json = {
    "type": "object",
    "properties": {"adminPass": {"type": "string"}},
    "additionalProperties": False,
}
