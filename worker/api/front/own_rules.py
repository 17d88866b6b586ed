"""The rules of what is the API's own, its tokens too: name, who may, what, where."""

OWN_RULES: tuple[tuple[str, ...], ...] = (
    (
        "identity:validate_token",
        "anybody",
        "Learn for whom a token of the API's own stands; who asks has that token",
        "GET /identity/v3/auth/tokens",
    ),
    (
        "blockworker:operations:list",
        "reader",
        "List the operations on the project's instances",
        "GET /operations",
    ),
    (
        "blockworker:operations:show",
        "reader",
        "Show an operation with its steps",
        "GET /operations/{operation_id}",
    ),
    (
        "blockworker:operations:cancel",
        "member",
        "Ask for the end of an operation",
        "POST /operations/{operation_id}/cancel",
    ),
    (
        "blockworker:updates:listen",
        "reader",
        "Be sent updates as they come",
        "GET /updates",
        "GET /operations/{operation_id}/updates",
    ),
    ("blockworker:workers:list", "admin", "List the workers that are there", "GET /workers"),
    ("blockworker:metrics:show", "admin", "Show the API's figures", "GET /metrics"),
)
