"""``os-instance-actions``: what was done to a server, from the journal."""

from datetime import UTC, datetime

from worker.api.asked import Answer, Asked, Json, Refused
from worker.api.compute.access import owner_of, server_of
from worker.api.compute.actions_told import Action, Showing, actions_of, events_of, request_of
from worker.api.paging import after, limit_of, next_page, one
from worker.api.route import From, Route
from worker.api.schemas import instance_actions as schemas
from worker.api.services import Services
from worker.persistence.fleet import Server, Told

MOST = 10_000
"""So many operations of an instance are looked at, the newest."""


def index(asked: Asked, services: Services) -> Answer:
    """List what was done to a server, newest first."""
    server = server_of(asked, services, gone=asked.at_least(21))
    actions = actions_of(_operations(server, services))
    if not asked.at_least(58):
        shown = [action.public(server, updated=False) for action in actions]
        return Answer(body={"instanceActions": shown})
    return Answer(body=_page(asked, server, _changed_within(asked, actions), services))


def show(asked: Asked, services: Services) -> Answer:
    """Show what one request did to a server, with its events."""
    server = server_of(asked, services, gone=asked.at_least(21))
    wanted = asked.path["request_id"]
    found = [told for told in _operations(server, services) if request_of(told.operation) == wanted]
    if not found:
        raise Refused(404, f"Action {wanted} not found")
    (action,) = actions_of(found)
    shown = action.public(server, updated=asked.at_least(58))
    showing = _showing(asked, server, services)
    if showing.traceback or asked.at_least(51):
        shown["events"] = [
            event
            for told in action.operations
            for event in events_of(_with_steps(told, services), server, showing)
        ]
    return Answer(body={"instanceAction": shown})


def _operations(server: Server, services: Services) -> tuple[Told, ...]:
    return services.fleet.operations(server.instance.uuid, limit=MOST)


def _with_steps(told: Told, services: Services) -> Told:
    return services.fleet.operation(told.operation.id) or told


def _showing(asked: Asked, server: Server, services: Services) -> Showing:
    owner = owner_of(server)
    every = services.policy.allows(_RULE + "events", asked.who, owner)
    details = services.policy.allows(_RULE + "events:details", asked.who, owner)
    return Showing(
        traceback=every,
        host=every and asked.at_least(62),
        host_id=asked.at_least(62),
        details=details and asked.at_least(84),
        who=asked.who,
    )


def _changed_within(asked: Asked, actions: list[Action]) -> list[Action]:
    since, before = _moment(asked, "changes-since"), _moment(asked, "changes-before")
    if since is not None and before is not None and before < since:
        message = "The value of changes-since must be less than or equal to changes-before."
        raise Refused(400, message)
    return [
        action
        for action in actions
        if (since is None or action.updated >= since)
        and (before is None or action.updated <= before)
    ]


def _moment(asked: Asked, name: str) -> datetime | None:
    said = one(asked, name)
    if said is None:
        return None
    try:
        # A plus that nobody has quoted is a blank by the time it is here.
        found = datetime.fromisoformat(said.replace(" ", "+"))
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        message = f"Invalid input for query {name}: {said!r} is no time in ISO 8601"
        raise Refused(400, message) from error


def _page(asked: Asked, server: Server, actions: list[Action], services: Services) -> Json:
    limit = limit_of(asked, services)
    marker = one(asked, "marker")
    rest = after(actions, marker, _request_id, f"Marker {marker} could not be found.")
    page = rest[:limit]
    body: Json = {"instanceActions": [action.public(server, updated=True) for action in page]}
    if page and len(rest) > limit:
        path = f"/v2.1/servers/{server.instance.uuid}/os-instance-actions"
        body["links"] = next_page(asked, path, page[-1].request_id)
    return body


def _request_id(action: Action) -> str:
    return action.request_id


_RULE = "os_compute_api:os-instance-actions:"
_ALL = "/v2.1/servers/{server_id}/os-instance-actions"

ROUTES = (
    Route(
        method="GET",
        path=_ALL,
        act=index,
        does="List what was done to a server",
        rule=_RULE + "list",
        query=(
            From(schema=schemas.ANY, minor=1),
            From(schema=schemas.LISTING_258, minor=58),
            From(schema=schemas.LISTING_266, minor=66),
        ),
        answers={200: schemas.LISTED},
    ),
    Route(
        method="GET",
        path=_ALL + "/{request_id}",
        act=show,
        does="Show what one request did to a server",
        rule=_RULE + "show",
        answers={200: schemas.ONE},
    ),
)
