"""Who may ask what, unless the operator's policy file says otherwise; the names are Nova's."""

from collections.abc import Mapping

from oslo_config import cfg
from oslo_policy.policy import DocumentedRuleDefault, Enforcer, Operation, RuleDefault

from worker.api.asked import Refused, Who

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
    words = (each.split(" ") for each in operations)
    asked: list[Operation] = [{"method": method, "path": path} for method, path in words]
    return DocumentedRuleDefault(name, check, description, asked)


_ATTACHMENTS = "/servers/{server_id}/os-volume_attachments"

RULES = (
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
)


def list_rules() -> list[RuleDefault]:
    """Return every rule, as oslo.policy's sample generator wants them."""
    return [*BASE, *RULES]


class OsloPolicy:
    """The rules, as oslo.policy has them."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        """Read the operator's file, if there is one, again whenever it changes."""
        self._enforcer = Enforcer(conf)
        self._enforcer.register_defaults(list_rules())

    def check(self, rule: str, who: Who, target: Mapping[str, str | None]) -> None:
        """Raise Refused (403) unless the rule lets them."""
        if not self.allows(rule, who, target):
            raise Refused(403, f"Policy doesn't allow {rule} to be performed.")

    def allows(self, rule: str, who: Who, target: Mapping[str, str | None]) -> bool:
        """Tell whether the rule lets them; one that nobody knows lets nobody."""
        credentials = {
            "user_id": who.user_id,
            "project_id": who.project_id,
            "roles": sorted(who.roles),
            "service_roles": sorted(who.service_roles),
        }
        return bool(self._enforcer.enforce(rule, dict(target), credentials))
