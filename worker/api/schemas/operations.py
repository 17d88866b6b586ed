"""``/operations`` and ``/updates``."""

from worker.api.asked import Json
from worker.api.schemas.parts import LINKS, NUMBER, once
from worker.model.operation import OperationState

UUID: Json = {"type": "string", "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"}
STATES = [state.value for state in OperationState]

LISTING: Json = {
    "type": "object",
    "properties": {
        "instance_uuid": once(UUID),
        "state": once({"type": "string", "enum": STATES}),
        "limit": once(NUMBER),
        "marker": once(UUID),
    },
    "additionalProperties": False,
}

LISTENING: Json = {
    "type": "object",
    "properties": {"instance_uuid": once(UUID)},
    "additionalProperties": False,
}

_TEXT: Json = {"type": ["string", "null"]}
_FAULT: Json = {
    "type": ["object", "null"],
    "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
    "required": ["code", "message"],
    "additionalProperties": False,
}
_STEP: Json = {
    "type": "object",
    "properties": {
        "number": {"type": "integer"},
        "attempt": {"type": "integer"},
        "name": {"type": "string"},
        "started_at": {"type": "string"},
        "seconds": {"type": ["number", "null"]},
        "outcome": {"type": "string", "enum": ["open", "done", "failed"]},
        "fault": _FAULT,
    },
    "required": ["number", "attempt", "name", "started_at", "seconds", "outcome", "fault"],
    "additionalProperties": False,
}

_FIELDS: Json = {
    "operation_id": UUID,
    "host": {"type": "string"},
    "method": {"type": "string"},
    "arguments": {"type": "object"},
    "instance_uuid": _TEXT,
    "bdm_uuid": _TEXT,
    "request_id": _TEXT,
    "own": {"type": "boolean"},
    "state": {"type": "string", "enum": STATES},
    "attempts": {"type": "integer"},
    "past_commit_point": {"type": "boolean"},
    "progress": {"type": ["integer", "null"]},
    "cancel_requested": {"type": "boolean"},
    "accepted_at": _TEXT,
    "expires_at": _TEXT,
    "started_at": _TEXT,
    "deadline": _TEXT,
    "late": {"type": "boolean"},
    "ended_at": _TEXT,
    "fault": _FAULT,
    "steps": {"type": "array", "items": _STEP},
}

OPERATION: Json = {
    "type": "object",
    "properties": _FIELDS,
    "required": sorted(_FIELDS),
    "additionalProperties": False,
}
ONE: Json = {
    "type": "object",
    "properties": {"operation": OPERATION},
    "required": ["operation"],
    "additionalProperties": False,
}
LISTED: Json = {
    "type": "object",
    "properties": {"operations": {"type": "array", "items": OPERATION}, "operations_links": LINKS},
    "required": ["operations"],
    "additionalProperties": False,
}
