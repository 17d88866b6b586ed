"""``os-volume_attachments``."""

from worker.api.asked import Json
from worker.api.schemas.parts import NUMBERS, TAG

UUID: Json = {"type": "string", "format": "uuid", "pattern": "^[0-9a-fA-F-]{36}$"}

_DEVICE: Json = {
    "type": ["string", "null"],
    "pattern": "^/dev/x{0,1}[a-z]{0,1}d{0,1}[a-z]+[0-9]*$",
    "maxLength": 255,
}

_TRUE = ("true", "True", "TRUE", "1", "on", "On", "ON", "yes", "Yes", "YES", "y")
_FALSE = ("false", "False", "FALSE", "0", "off", "Off", "OFF", "no", "No", "NO", "n")
_BOOLEAN: Json = {"type": ["boolean", "string"], "enum": [True, False, *_TRUE, *_FALSE]}


def _wrapped(fields: Json) -> Json:
    return {
        "type": "object",
        "properties": {
            "volumeAttachment": {
                "type": "object",
                "properties": fields,
                "required": ["volumeId"],
                "additionalProperties": False,
            }
        },
        "required": ["volumeAttachment"],
        "additionalProperties": False,
    }


_CREATE: Json = {"volumeId": UUID, "device": _DEVICE}

CREATE = _wrapped(_CREATE)
CREATE_249 = _wrapped(_CREATE | {"tag": TAG})
CREATE_279 = _wrapped(_CREATE | {"tag": TAG, "delete_on_termination": _BOOLEAN})

SWAP = _wrapped({"volumeId": UUID})
UPDATE_285 = _wrapped(
    {
        "volumeId": UUID,
        "device": _DEVICE,
        "tag": {"type": ["string", "null"], "maxLength": 60},
        "delete_on_termination": _BOOLEAN,
        "serverId": UUID,
        "id": UUID,
    }
)

INDEX: Json = {"type": "object", "properties": {"limit": NUMBERS, "offset": NUMBERS}}
INDEX_275: Json = INDEX | {"additionalProperties": False}

_SHOWN: Json = {
    "type": "object",
    "properties": {
        "id": UUID,
        "serverId": UUID,
        "volumeId": UUID,
        "device": {"type": "string"},
        "tag": {"type": ["string", "null"]},
        "delete_on_termination": {"type": "boolean"},
        "attachment_id": {"type": ["string", "null"]},
        "bdm_uuid": UUID,
    },
    "required": ["serverId", "volumeId", "device"],
    "additionalProperties": False,
}

ONE: Json = {
    "type": "object",
    "properties": {"volumeAttachment": _SHOWN},
    "required": ["volumeAttachment"],
}
LISTED: Json = {
    "type": "object",
    "properties": {"volumeAttachments": {"type": "array", "items": _SHOWN}},
    "required": ["volumeAttachments"],
}
