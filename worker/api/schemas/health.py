"""``/healthcheck`` and ``/workers``."""

from worker.api.asked import Json

DETAILED: Json = {"type": "object", "properties": {"detailed": {"type": "array"}}}
"""Whatever else is asked along is passed over: those who look after health add their own."""

_PART: Json = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}, "milliseconds": {"type": ["number", "null"]}},
    "required": ["ok", "milliseconds"],
    "additionalProperties": False,
}
_STREAMS: Json = {
    "type": "object",
    "properties": {"open": {"type": "integer"}, "most": {"type": "integer"}},
    "required": ["open", "most"],
    "additionalProperties": False,
}
HEALTH: Json = {
    "type": "object",
    "properties": {
        "status": {"type": "string", "enum": ["ok", "unavailable"]},
        "workers": {"type": ["integer", "null"]},
        "reasons": {"type": "array", "items": {"type": "string"}},
        "parts": {"type": "object", "additionalProperties": _PART},
        "streams": _STREAMS,
    },
    "required": ["status", "workers", "reasons"],
    "additionalProperties": False,
}
_WORKER: Json = {
    "type": "object",
    "properties": {
        "host": {"type": "string"},
        "until": {"type": "string"},
        "instances": {"type": "integer"},
    },
    "required": ["host", "until", "instances"],
    "additionalProperties": False,
}
WORKERS: Json = {
    "type": "object",
    "properties": {"workers": {"type": "array", "items": _WORKER}},
    "required": ["workers"],
    "additionalProperties": False,
}
