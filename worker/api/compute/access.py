"""The server that a request is about, as far as its caller may know of it."""

from worker.api.asked import Asked, Owner, Refused
from worker.api.services import Services
from worker.errors import InstanceNotFound
from worker.model.ids import InstanceId, is_uuid
from worker.persistence.fleet import Server


def server_of(asked: Asked, services: Services, *, gone: bool = False) -> Server:
    """Return the server that the path names; raises InstanceNotFound.

    Another project's is not found, as if there were none: who may not see it must not learn that
    it is there. With ``gone`` one that was deleted is found too. The route's rule is asked again,
    with its owners. Raises Refused (403).
    """
    wanted = asked.path["server_id"]
    found = services.fleet.server(InstanceId(wanted)) if is_uuid(wanted) else None
    if found is None or not (gone or found.deleted_at is None) or not may_see(asked, found):
        raise InstanceNotFound(f"Instance {wanted} could not be found.")
    check_rule(asked, services, found)
    return found


def may_see(asked: Asked, server: Server) -> bool:
    """Tell whether the caller may know that the server is there."""
    return asked.who.may_see(server.instance.project_id)


def owner_of(server: Server) -> Owner:
    """Return whose the server is."""
    return {"project_id": server.instance.project_id, "user_id": server.instance.user_id}


def check_rule(asked: Asked, services: Services, server: Server) -> None:
    """Raise Refused (403) unless the route's rule lets the caller, on this server."""
    if asked.rule is None:
        raise Refused(500, "a request about a server has no rule")
    services.policy.check(asked.rule, asked.who, owner_of(server))
