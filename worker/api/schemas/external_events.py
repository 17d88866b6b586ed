"""``os-server-external-events``."""

from worker.api.asked import Json

FIRST = (
    "network-changed",
    "network-vif-plugged",
    "network-vif-unplugged",
    "network-vif-deleted",
)


def _events(*names: str) -> Json:
    event: Json = {
        "type": "object",
        "properties": {
            "server_uuid": {"type": "string", "format": "uuid"},
            "name": {"type": "string", "enum": list(names)},
            "status": {"type": "string", "enum": ["failed", "completed", "in-progress"]},
            "tag": {"type": "string", "maxLength": 255},
        },
        "required": ["server_uuid", "name"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {
            "events": {"type": "array", "minItems": 1, "maxItems": 1000, "items": event}
        },
        "required": ["events"],
        "additionalProperties": False,
    }


CREATE = _events(*FIRST)
CREATE_251 = _events(*FIRST, "volume-extended")
CREATE_276 = _events(*FIRST, "volume-extended", "power-update")
CREATE_282 = _events(*FIRST, "volume-extended", "power-update", "accelerator-request-bound")
CREATE_293 = _events(
    *FIRST, "volume-extended", "power-update", "accelerator-request-bound", "volume-reimaged"
)

_TOLD: Json = {
    "type": "object",
    "properties": {
        "server_uuid": {"type": "string"},
        "name": {"type": "string"},
        "status": {"type": "string"},
        "tag": {"type": "string"},
        "code": {"type": "integer"},
    },
    "required": ["server_uuid", "name", "status", "code"],
    "additionalProperties": False,
}

TOLD: Json = {
    "type": "object",
    "properties": {"events": {"type": "array", "items": _TOLD}},
    "required": ["events"],
    "additionalProperties": False,
}
