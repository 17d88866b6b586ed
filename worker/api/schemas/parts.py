"""What several themes' schemas are made of; of a query each name has the list of its values."""

from worker.api.asked import Json

NUMBER: Json = {"type": "string", "pattern": "^[0-9]{1,9}$"}
NUMBERS: Json = {"type": "array", "items": NUMBER}
TEXTS: Json = {"type": "array", "items": {"type": "string", "maxLength": 255}}

ID: Json = {"type": "string", "pattern": "^[0-9a-fA-F-]{36}$"}
TAG: Json = {"type": "string", "minLength": 1, "maxLength": 60, "pattern": "^[^,/]*$"}

LINKS: Json = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"rel": {"const": "next"}, "href": {"type": "string"}},
        "required": ["rel", "href"],
        "additionalProperties": False,
    },
}
"""To the rest of a list."""


def once(value: Json) -> Json:
    """Return the schema of a name that a query may have once."""
    return {"type": "array", "items": value, "maxItems": 1}
