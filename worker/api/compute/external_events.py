"""``os-server-external-events``: Cinder tells that a volume was extended."""

import logging

from worker.api import faults
from worker.api.asked import Answer, Asked, Json, Refused, accepted
from worker.api.beginning import begin
from worker.api.route import From, Route
from worker.api.schemas import external_events as schemas
from worker.api.services import Services
from worker.errors import DatabaseUnavailable, NoAnswer, WorkerError, WorkerUnreachable, told
from worker.model.ids import InstanceId, OperationId, VolumeId

LOG = logging.getLogger(__name__)

EXTENDED = "volume-extended"

DONE, ALL_DONE, SOME_FAILED = 200, 200, 207
NO_SUCH, NO_TAG, NOT_OURS = 404, 400, 422


def create(asked: Asked, services: Services) -> Answer:
    """Take events, each for itself: its ``code`` says what became of it.

    Where no server of any is known, nothing of it can be said. Raises Refused (404).
    """
    silent: set[str] = set()
    taken = [_taken(event, asked, services, silent) for event in asked.body["events"]]
    events = [event for event, _ in taken]
    codes = {event["code"] for event in events}
    if codes == {NO_SUCH}:
        raise Refused(NO_SUCH, "No instances found for any event")
    status = ALL_DONE if codes == {DONE} else SOME_FAILED
    begun = [operation for _, operation in taken if operation is not None]
    return accepted(*begun, status=status, body={"events": events})


def _taken(
    event: Json, asked: Asked, services: Services, silent: set[str]
) -> tuple[Json, OperationId | None]:
    """Return the event with its code, and the operation that it has begun.

    A host whose worker is ``silent`` is not asked again: each time would be waited for.
    """
    operation = None
    try:
        code, operation = _code(event, asked, services, silent)
    except DatabaseUnavailable:
        raise
    except WorkerError as error:
        code = faults.refused(error).status
        LOG.warning("event not taken: server=%s why=%s", event["server_uuid"], told(error))
    status = "completed" if code == DONE else "failed"
    return event | {"status": status, "code": code}, operation


def _code(
    event: Json, asked: Asked, services: Services, silent: set[str]
) -> tuple[int, OperationId | None]:
    server = services.fleet.server(InstanceId(event["server_uuid"].lower()))
    if server is None or server.deleted_at is not None:
        return NO_SUCH, None
    if event["name"] != EXTENDED:
        return NOT_OURS, None
    if "tag" not in event:
        return NO_TAG, None
    row = services.fleet.device(server.instance.uuid, VolumeId(event["tag"].lower()))
    if row is None:
        return NO_SUCH, None
    host = server.instance.host
    if host in silent:
        return faults.AWAY, None
    size = services.volumes.show(row.its_volume).size
    try:
        wanted = {"bdm_uuid": row.uuid, "new_size": size}
        return DONE, begin(server.instance, "extend_volume", asked, services, **wanted)
    except (NoAnswer, WorkerUnreachable):
        silent.add(host)
        raise


ROUTES = (
    Route(
        method="POST",
        path="/v2.1/os-server-external-events",
        act=create,
        does="Tell that something of servers has changed: that a volume was extended",
        rule="os_compute_api:os-server-external-events:create",
        body=(
            From(schema=schemas.CREATE, minor=1),
            From(schema=schemas.CREATE_251, minor=51),
            From(schema=schemas.CREATE_276, minor=76),
            From(schema=schemas.CREATE_282, minor=82),
            From(schema=schemas.CREATE_293, minor=93),
        ),
        answers={200: schemas.TOLD, 207: schemas.TOLD},
    ),
)
