"""Who may ask what, unless the operator's policy file says otherwise; the names are Nova's."""

from oslo_policy.policy import DocumentedRuleDefault, Operation, RuleDefault

from worker.api.front.own_rules import OWN_RULES
from worker.api.front.server_rules import REQUESTED_DESTINATION, SERVER_RULES
from worker.api.front.storage_rules import STORAGE_RULES

ADMIN = "rule:context_is_admin"
READER = "rule:project_reader_or_admin"
MEMBER = "rule:project_member_or_admin"
ADMIN_OR_SERVICE = "rule:service_or_admin"

BASE = (
    RuleDefault("context_is_admin", "role:admin", "Sees and changes what is any project's."),
    RuleDefault("service_role", "role:service", "Other services."),
    RuleDefault("service_or_admin", "rule:service_role or rule:context_is_admin"),
    RuleDefault("project_member", "role:member and project_id:%(project_id)s"),
    RuleDefault("project_reader", "role:reader and project_id:%(project_id)s"),
    RuleDefault("project_member_or_admin", "rule:project_member or rule:context_is_admin"),
    RuleDefault("project_reader_or_admin", "rule:project_reader or rule:context_is_admin"),
)


def _rule(name: str, check: str, description: str, *operations: str) -> DocumentedRuleDefault:
    words = (each.split(" ", 1) for each in operations)
    asked: list[Operation] = [{"method": method, "path": path} for method, path in words]
    return DocumentedRuleDefault(name, check, description, asked)


_ATTACHMENTS = "/servers/{server_id}/os-volume_attachments"

RULES: tuple[DocumentedRuleDefault, ...] = (
    _rule(
        "identity:validate_token",
        "@",
        "Learn for whom a token of the API's own stands; who asks has that token",
        "GET /identity/v3/auth/tokens",
    ),
    _rule(
        "os_compute_api:os-volumes-attachments:index",
        READER,
        "List the volumes of a server",
        f"GET {_ATTACHMENTS}",
    ),
    _rule(
        "os_compute_api:os-volumes-attachments:create",
        MEMBER,
        "Attach a volume",
        f"POST {_ATTACHMENTS}",
    ),
    _rule(
        "os_compute_api:os-volumes-attachments:show",
        READER,
        "Show a volume of a server",
        f"GET {_ATTACHMENTS}/{{volume_id}}",
    ),
    _rule(
        "os_compute_api:os-volumes-attachments:delete",
        MEMBER,
        "Detach a volume",
        f"DELETE {_ATTACHMENTS}/{{volume_id}}",
    ),
    _rule(
        "os_compute_api:os-volumes-attachments:update",
        MEMBER,
        "Change what is said of a volume of a server (since 2.85)",
        f"PUT {_ATTACHMENTS}/{{volume_id}}",
    ),
    _rule(
        "os_compute_api:os-volumes-attachments:swap",
        ADMIN_OR_SERVICE,
        "Put another volume in the place of an attached one; Cinder asks for that",
        f"PUT {_ATTACHMENTS}/{{volume_id}}",
    ),
    _rule(
        "os_compute_api:os-server-external-events:create",
        ADMIN_OR_SERVICE,
        "Tell that something of a server has changed: that a volume was extended",
        "POST /os-server-external-events",
    ),
)

_WHO = {"reader": READER, "member": MEMBER, "admin": ADMIN}

RULES += (
    *(
        _rule(f"os_compute_api:{name}", _WHO[who], *described)
        for name, who, *described in SERVER_RULES
    ),
    _rule(REQUESTED_DESTINATION[0], ADMIN, *REQUESTED_DESTINATION[1:]),
)

RULES += tuple(_rule(name, _WHO[who], *described) for name, who, *described in OWN_RULES)
RULES += tuple(_rule(name, _WHO[who], *described) for name, who, *described in STORAGE_RULES)


def list_rules() -> list[RuleDefault]:
    """Return every rule, as oslo.policy's sample generator wants them."""
    return [*BASE, *RULES]
