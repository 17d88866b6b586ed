"""``/operations``: what was asked of workers and what became of it."""

from worker.api.asked import Answer, Asked, Json, Owner, Refused
from worker.api.compute.access import owner_of
from worker.api.own.shown import shown, shown_of
from worker.api.paging import limit_of, next_page, one
from worker.api.route import From, Route, Service
from worker.api.ruling import check_rule
from worker.api.schemas import operations as schemas
from worker.api.services import Services
from worker.errors import OperationNotFound
from worker.model.ids import InstanceId, OperationId, is_uuid
from worker.model.operation import Operation
from worker.persistence.fleet import Told, WantedOperations


def index(asked: Asked, services: Services) -> Answer:
    """List operations, newest first, without their steps."""
    limit = limit_of(asked, services)
    after = one(asked, "marker")
    if after is not None and _visible(after, asked, services) is None:
        raise Refused(400, f"marker {after} is no operation; begin again without one")
    instance = one(asked, "instance_uuid")
    wanted = WantedOperations(
        project=None if asked.who.is_admin else asked.who.project_id or "",
        limit=limit + 1,
        instance=None if instance is None else InstanceId(instance.lower()),
        state=one(asked, "state"),
        after=None if after is None else OperationId(after.lower()),
    )
    found = services.fleet.listed(wanted) if limit else ()
    body: Json = {"operations": [shown(each, asked.who) for each in found[:limit]]}
    if len(found) > limit:
        last = found[limit - 1].operation.id
        body["operations_links"] = next_page(asked, "/operations", last)
    return Answer(body=body)


def show(asked: Asked, services: Services) -> Answer:
    """Show one operation with its steps."""
    return Answer(body={"operation": shown(operation_of(asked, services), asked.who)})


def cancel(asked: Asked, services: Services) -> Answer:
    """Ask for the end of an operation that waits or copies."""
    told = operation_of(asked, services)
    answered = services.workers.call(
        told.host,
        "cancel_operation",
        request_id=asked.request_id,
        operation_id=told.operation.id,
    )
    return Answer(status=202, body={"operation": shown_of(answered, told.host, asked.who)})


def operation_of(asked: Asked, services: Services) -> Told:
    """Return the operation that the path names; raises OperationNotFound.

    One on another project's instance is not found, as if there were none; one without an instance
    is an admin's. The route's rule is asked again, with the owners. Raises Refused (403).
    """
    wanted = asked.path["operation_id"]
    found = _visible(wanted, asked, services)
    if found is None:
        raise OperationNotFound(f"no operation {wanted}")
    told, owner = found
    check_rule(asked, services, owner)
    return told


def _visible(wanted: str, asked: Asked, services: Services) -> tuple[Told, Owner] | None:
    """Return the operation and whose it is, if the caller may know of it."""
    told = services.fleet.operation(OperationId(wanted.lower())) if is_uuid(wanted) else None
    if told is None:
        return None
    owner = _owner(told.operation, services)
    return (told, owner) if asked.who.may_see(owner["project_id"]) else None


def _owner(operation: Operation, services: Services) -> Owner:
    """Return whose it is: a build that has not begun yet has no instance, but says for whom."""
    server = None if operation.instance is None else services.fleet.server(operation.instance)
    if server is not None:
        return owner_of(server)
    said = operation.arguments if operation.method == "build_instance" else {}
    return {"project_id": said.get("project_id"), "user_id": said.get("user_id")}


_RULE = "blockworker:operations:"

ROUTES = (
    Route(
        method="GET",
        path="/operations",
        act=index,
        does="List operations, newest first",
        rule=_RULE + "list",
        service=Service.OWN,
        query=(From(schema=schemas.LISTING),),
        answers={200: schemas.LISTED},
    ),
    Route(
        method="GET",
        path="/operations/{operation_id}",
        act=show,
        does="Show an operation with its steps",
        rule=_RULE + "show",
        service=Service.OWN,
        answers={200: schemas.ONE},
    ),
    Route(
        method="POST",
        path="/operations/{operation_id}/cancel",
        act=cancel,
        does="Ask for the end of an operation that waits or copies",
        rule=_RULE + "cancel",
        service=Service.OWN,
        answers={202: schemas.ONE},
    ),
)
