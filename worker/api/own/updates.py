"""Updates as they come, as server-sent events."""

from worker.api.asked import Answer, Asked
from worker.api.compute.access import visible_server
from worker.api.own.operations import operation_of
from worker.api.paging import one
from worker.api.route import From, Route, Service
from worker.api.schemas import operations as schemas
from worker.api.services import Services
from worker.api.streams import events
from worker.api.streams.inbox import Listening
from worker.api.streams.stream import Stream


def of_operation(asked: Asked, services: Services) -> Answer:
    """Send an operation's updates, from its first on, and then what it came to."""
    told, last = operation_of(asked, services), events.last_of(asked.headers)
    return _sent(services.streams.of_operation(told, asked.who, last))


def live(asked: Asked, services: Services) -> Answer:
    """Send the updates of the caller's project, or of one of its instances, as they come."""
    instance = one(asked, "instance_uuid")
    listening = Listening(
        project=None if asked.who.is_admin else asked.who.project_id or "",
        instance=None if instance is None else _visible(instance.lower(), asked, services),
    )
    return _sent(services.streams.live(listening, asked.who, events.last_of(asked.headers)))


def _visible(instance: str, asked: Asked, services: Services) -> str:
    """Return the instance, if the caller may see it; one that was deleted too."""
    return visible_server(instance, asked, services, gone=True).instance.uuid


def _sent(stream: Stream) -> Answer:
    return Answer(stream=stream, content_type=events.MEDIA, headers=events.HEADERS)


_RULE = "blockworker:updates:listen"

ROUTES = (
    Route(
        method="GET",
        path="/operations/{operation_id}/updates",
        act=of_operation,
        does="Send an operation's updates until its end",
        rule=_RULE,
        service=Service.OWN,
        answers={200: {"type": "string"}},
        media=events.MEDIA,
    ),
    Route(
        method="GET",
        path="/updates",
        act=live,
        does="Send updates as they come",
        rule=_RULE,
        service=Service.OWN,
        query=(From(schema=schemas.LISTENING),),
        answers={200: {"type": "string"}},
        media=events.MEDIA,
    ),
)
