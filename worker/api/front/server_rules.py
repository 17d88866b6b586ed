"""Who may ask what about servers and flavors; the names are Nova's."""

SERVER_RULES: tuple[tuple[str, ...], ...] = (
    ("servers:index", "reader", "List servers", "GET /servers"),
    ("servers:detail", "reader", "List servers with details", "GET /servers/detail"),
    ("servers:index:get_all_tenants", "admin", "List servers of all projects", "GET /servers"),
    (
        "servers:detail:get_all_tenants",
        "admin",
        "List servers of all projects with details",
        "GET /servers/detail",
    ),
    (
        "servers:allow_all_filters",
        "admin",
        "Find servers by their host",
        "GET /servers",
        "GET /servers/detail",
    ),
    (
        "servers:show",
        "reader",
        "Show a server; whoever asks for an action needs it too",
        "GET /servers/{server_id}",
        "POST /servers/{server_id}/action",
    ),
    (
        "servers:show:host_status",
        "admin",
        "See whether the host of a server is up",
        "GET /servers/{server_id}",
        "GET /servers/detail",
    ),
    (
        "os-extended-server-attributes",
        "admin",
        "See the host of a server, and its name there",
        "GET /servers/{server_id}",
        "GET /servers/detail",
    ),
    ("servers:create", "member", "Create a server", "POST /servers"),
    (
        "servers:create:forced_host",
        "admin",
        "Name the host of a new server in availability_zone",
        "POST /servers",
    ),
    ("servers:update", "member", "Update a server", "PUT /servers/{server_id}"),
    ("servers:delete", "member", "Delete a server", "DELETE /servers/{server_id}"),
    ("servers:start", "member", "Start a server", "POST /servers/{server_id}/action (os-start)"),
    ("servers:stop", "member", "Stop a server", "POST /servers/{server_id}/action (os-stop)"),
    ("servers:reboot", "member", "Reboot a server", "POST /servers/{server_id}/action (reboot)"),
    ("os-rescue", "member", "Rescue a server", "POST /servers/{server_id}/action (rescue)"),
    ("os-unrescue", "member", "Unrescue a server", "POST /servers/{server_id}/action (unrescue)"),
    (
        "os-deferred-delete:force",
        "member",
        "Delete a server by an action",
        "POST /servers/{server_id}/action (forceDelete)",
    ),
    (
        "flavors",
        "reader",
        "List and show flavors",
        "GET /flavors",
        "GET /flavors/detail",
        "GET /flavors/{flavor_id}",
    ),
    (
        "os-flavor-extra-specs:index",
        "reader",
        "List the extra specifications of a flavor",
        "GET /flavors/{flavor_id}/os-extra_specs",
    ),
)
"""Name without ``os_compute_api:``, who may, what, and the requests."""

REQUESTED_DESTINATION = (
    "compute:servers:create:requested_destination",
    "Name the host of a new server in host or hypervisor_hostname",
    "POST /servers",
)
