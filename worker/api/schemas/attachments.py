"""``os-volume_attachments``."""

from worker.api.asked import Json

UUID: Json = {"type": "string", "format": "uuid", "pattern": "^[0-9a-fA-F-]{36}$"}


def _attaching(**more: Json) -> Json:
    fields = {
        "volumeId": UUID,
        "device": {"type": ["string", "null"], "pattern": "^/dev/[a-z]+$", "maxLength": 32},
    }
    return {
        "type": "object",
        "properties": {
            "volumeAttachment": {
                "type": "object",
                "properties": fields | more,
                "required": ["volumeId"],
                "additionalProperties": False,
            }
        },
        "required": ["volumeAttachment"],
        "additionalProperties": False,
    }


_TAG: Json = {"type": "string", "minLength": 1, "maxLength": 60, "pattern": "^[^,/]*$"}

CREATE = _attaching()
CREATE_249 = _attaching(tag=_TAG)
CREATE_279 = _attaching(tag=_TAG, delete_on_termination={"type": "boolean"})

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
