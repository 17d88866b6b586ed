"""``/identity/v3/auth/tokens``."""

from worker.api.asked import Json

_WORD: Json = {"type": "string", "maxLength": 4096}

_TOKEN: Json = _WORD | {"pattern": "^[!-~]*$"}
"""What a header can carry: the answer has it in one."""

AUTHENTICATE: Json = {
    "type": "object",
    "properties": {
        "auth": {
            "type": "object",
            "properties": {
                "identity": {
                    "type": "object",
                    "properties": {
                        "methods": {"type": "array", "items": _WORD, "minItems": 1},
                        "token": {
                            "type": "object",
                            "properties": {"id": _TOKEN},
                            "required": ["id"],
                        },
                    },
                    "required": ["methods"],
                },
                "scope": {"type": ["object", "string"]},
            },
            "required": ["identity"],
        }
    },
    "required": ["auth"],
}
"""What other methods say is theirs: each is refused, whatever it says."""

TOKEN: Json = {
    "type": "object",
    "properties": {
        "token": {
            "type": "object",
            "properties": {
                "methods": {"type": "array", "items": {"type": "string"}},
                "issued_at": {"type": "string"},
                "expires_at": {"type": "string"},
                "user": {"type": "object"},
                "project": {"type": "object"},
                "roles": {"type": "array", "items": {"type": "object"}},
                "catalog": {"type": "array", "items": {"type": "object"}},
                "audit_ids": {"type": "array", "items": {"type": "string"}},
                "is_domain": {"type": "boolean"},
            },
            "required": ["methods", "expires_at", "user", "roles"],
        }
    },
    "required": ["token"],
}
