"""Flavors."""

from worker.api.asked import Json
from worker.api.schemas.parts import NUMBERS, TEXTS

QUERY: Json = {
    "type": "object",
    "properties": {
        "limit": NUMBERS,
        "marker": TEXTS,
        "is_public": TEXTS,
        "minRam": NUMBERS,
        "minDisk": NUMBERS,
        "sort_key": {"type": "array", "items": {"enum": ["flavorid", "id", "name"]}},
        "sort_dir": {"type": "array", "items": {"enum": ["asc"]}},
    },
}
QUERY_275: Json = {**QUERY, "additionalProperties": False}

_FLAVOR: Json = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "name": {"type": "string"},
        "links": {"type": "array"},
        "description": {"type": ["string", "null"]},
        "vcpus": {"type": "integer"},
        "ram": {"type": "integer"},
        "disk": {"type": "integer"},
        "OS-FLV-EXT-DATA:ephemeral": {"type": "integer"},
        "swap": {"type": ["integer", "string"]},
        "OS-FLV-DISABLED:disabled": {"type": "boolean"},
        "os-flavor-access:is_public": {"type": "boolean"},
        "rxtx_factor": {"type": "number"},
        "extra_specs": {"type": "object"},
    },
    "required": ["id", "name", "links"],
}

ONE: Json = {"type": "object", "properties": {"flavor": _FLAVOR}, "required": ["flavor"]}
LISTED: Json = {
    "type": "object",
    "properties": {
        "flavors": {"type": "array", "items": _FLAVOR},
        "flavors_links": {"type": "array"},
    },
    "required": ["flavors"],
}
EXTRA: Json = {
    "type": "object",
    "properties": {"extra_specs": {"type": "object"}},
    "required": ["extra_specs"],
}
