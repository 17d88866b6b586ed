"""The route's rule, asked again once it is known whose the thing is that a request is about."""

from worker.api.asked import Asked, Owner, Refused
from worker.api.services import Services


def check_rule(asked: Asked, services: Services, owner: Owner) -> None:
    """Raise Refused (403) unless the rule lets the caller, on a thing with those owners.

    The front has asked the route's rule about what is the caller's own; that is not asked twice.
    """
    if asked.rule is None:
        raise Refused(500, "a request about what somebody owns has no rule")
    if asked.rule != asked.settled or owner != asked.who.owner:
        services.policy.check(asked.rule, asked.who, owner)
