"""``os-instance-actions``."""

from worker.api.asked import Json
from worker.api.schemas.parts import LINKS, NUMBER, once

_TEXT: Json = {"type": "string", "maxLength": 255}
_PAGED: Json = {"limit": once(NUMBER), "marker": once(_TEXT), "changes-since": once(_TEXT)}

ANY: Json = {"type": "object"}
LISTING_258: Json = {"type": "object", "properties": _PAGED, "additionalProperties": False}
LISTING_266: Json = {
    "type": "object",
    "properties": _PAGED | {"changes-before": once(_TEXT)},
    "additionalProperties": False,
}

_MAYBE: Json = {"type": ["string", "null"]}
_FIELDS: Json = {
    "action": {"type": "string"},
    "instance_uuid": {"type": "string"},
    "request_id": {"type": "string"},
    "user_id": _MAYBE,
    "project_id": _MAYBE,
    "start_time": {"type": "string"},
    "message": _MAYBE,
}
_EVENT: Json = {
    "type": "object",
    "properties": {
        "event": {"type": "string"},
        "start_time": {"type": "string"},
        "finish_time": _MAYBE,
        "result": {"enum": ["Success", "Error", None]},
        "traceback": {"type": "null"},
        "host": {"type": "string"},
        "hostId": {"type": "string"},
        "details": _MAYBE,
    },
    "required": ["event", "start_time", "finish_time", "result"],
    "additionalProperties": False,
}
_ACTION: Json = {
    "type": "object",
    "properties": _FIELDS
    | {"updated_at": {"type": "string"}, "events": {"type": "array", "items": _EVENT}},
    "required": sorted(_FIELDS),
    "additionalProperties": False,
}

LISTED: Json = {
    "type": "object",
    "properties": {"instanceActions": {"type": "array", "items": _ACTION}, "links": LINKS},
    "required": ["instanceActions"],
    "additionalProperties": False,
}
ONE: Json = {
    "type": "object",
    "properties": {"instanceAction": _ACTION},
    "required": ["instanceAction"],
    "additionalProperties": False,
}
