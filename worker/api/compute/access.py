"""The server that a request is about, as far as its caller may know of it."""

from worker.api.asked import Asked, Owner
from worker.api.ruling import check_rule
from worker.api.services import Services
from worker.errors import InstanceNotFound
from worker.model.ids import InstanceId, is_uuid
from worker.persistence.fleet import Server


def server_of(asked: Asked, services: Services, *, gone: bool = False) -> Server:
    """Return the server that the path names, as ``visible_server`` does."""
    return visible_server(asked.path["server_id"], asked, services, gone=gone)


def visible_server(wanted: str, asked: Asked, services: Services, *, gone: bool = False) -> Server:
    """Return the server of that id; raises InstanceNotFound.

    Another project's is not found, as if there were none: who may not see it must not learn that
    it is there. With ``gone`` one that was deleted is found too. The route's rule is asked again,
    with its owners. Raises Refused (403).
    """
    found = any_server(wanted, services, gone=gone)
    if not may_see(asked, found):
        raise not_found(wanted)
    check_rule(asked, services, owner_of(found))
    return found


def any_server(wanted: str, services: Services, *, gone: bool = False) -> Server:
    """Return the server of that id, whosever it is; raises InstanceNotFound."""
    found = services.fleet.server(InstanceId(wanted)) if is_uuid(wanted) else None
    if found is None or not (gone or found.deleted_at is None):
        raise not_found(wanted)
    return found


def not_found(wanted: str) -> InstanceNotFound:
    """Return what is said of a server that is not there, or that the caller may not know of."""
    return InstanceNotFound(f"Instance {wanted} could not be found.")


def may_see(asked: Asked, server: Server) -> bool:
    """Tell whether the caller may know that the server is there."""
    return asked.who.may_see(server.instance.project_id)


def owner_of(server: Server) -> Owner:
    """Return whose the server is."""
    return {"project_id": server.instance.project_id, "user_id": server.instance.user_id}
