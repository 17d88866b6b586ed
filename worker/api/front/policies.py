"""Who may ask what, unless the operator's policy file says otherwise."""

from oslo_policy.policy import DocumentedRuleDefault, Operation, RuleDefault

from worker.api.front.compute_rules import COMPUTE_RULES
from worker.api.front.own_rules import OWN_RULES
from worker.api.front.storage_rules import STORAGE_RULES

BASE = (
    RuleDefault("context_is_admin", "role:admin", "Sees and changes what is any project's."),
    RuleDefault("service_role", "role:service", "Other services."),
    RuleDefault("service_or_admin", "rule:service_role or rule:context_is_admin"),
    RuleDefault("project_member", "role:member and project_id:%(project_id)s"),
    RuleDefault("project_reader", "role:reader and project_id:%(project_id)s"),
    RuleDefault("project_member_or_admin", "rule:project_member or rule:context_is_admin"),
    RuleDefault("project_reader_or_admin", "rule:project_reader or rule:context_is_admin"),
)

_WHO = {
    "anybody": "@",
    "reader": "rule:project_reader_or_admin",
    "member": "rule:project_member_or_admin",
    "service": "rule:service_or_admin",
    "admin": "rule:context_is_admin",
}


def _rule(name: str, who: str, description: str, *requests: str) -> DocumentedRuleDefault:
    words = (each.split(" ", 1) for each in requests)
    operations: list[Operation] = [{"method": method, "path": path} for method, path in words]
    return DocumentedRuleDefault(name, _WHO[who], description, operations)


RULES: tuple[DocumentedRuleDefault, ...] = tuple(
    _rule(*each) for each in (*COMPUTE_RULES, *OWN_RULES, *STORAGE_RULES)
)
"""Of each service the lines of its own module."""


def list_rules() -> list[RuleDefault]:
    """Return every rule, as oslo.policy's sample generator wants them."""
    return [*BASE, *RULES]
