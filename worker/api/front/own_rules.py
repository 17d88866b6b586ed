"""The rules of what is our own, and of what was done to a server: name, who, what, where."""

_ACTIONS = "/servers/{server_id}/os-instance-actions"

OWN_RULES: tuple[tuple[str, ...], ...] = (
    (
        "os_compute_api:os-instance-actions:list",
        "reader",
        "List what was done to a server",
        f"GET {_ACTIONS}",
    ),
    (
        "os_compute_api:os-instance-actions:show",
        "reader",
        "Show what one request did to a server",
        f"GET {_ACTIONS}/{{request_id}}",
    ),
    (
        "os_compute_api:os-instance-actions:events",
        "admin",
        "See its events before 2.51, and on which host they were",
        f"GET {_ACTIONS}/{{request_id}}",
    ),
    (
        "os_compute_api:os-instance-actions:events:details",
        "admin",
        "See why an event failed",
        f"GET {_ACTIONS}/{{request_id}}",
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
