"""``os-volume_attachments``: the volumes of a server."""

from worker.api.asked import Answer, Asked, Json, Refused, accepted
from worker.api.beginning import begin
from worker.api.compute import attaching, swapping
from worker.api.compute.access import server_of
from worker.api.compute.attached import attached, check_may_leave, is_there, shown
from worker.api.compute.taken_from import check_takes
from worker.api.paging import last
from worker.api.route import From, Route
from worker.api.schemas import attachments as schemas
from worker.api.services import Services
from worker.api.volume.pooled import owned_volume
from worker.api.words import is_true
from worker.model.ids import VolumeId
from worker.model.volume import Volume


def index(asked: Asked, services: Services) -> Answer:
    """List the volumes of a server."""
    server = server_of(asked, services)
    rows = [row for row in services.fleet.attached(server.instance.uuid) if is_there(row)]
    most = services.limits.page
    first = int(last(asked, "offset") or 0)
    limit = min(int(last(asked, "limit") or 0) or most, most)
    page = rows[first : first + limit]
    return Answer(body={"volumeAttachments": [shown(row, asked) for row in page]})


def show(asked: Asked, services: Services) -> Answer:
    """Show one volume of a server."""
    row = attached(server_of(asked, services).instance.uuid, asked, services)
    return Answer(body={"volumeAttachment": shown(row, asked)})


def create(asked: Asked, services: Services) -> Answer:
    """Attach a volume."""
    instance = server_of(asked, services).instance
    check_takes("attach_volume", instance)
    body = asked.body["volumeAttachment"]
    volume = _volume(asked, services)
    wanted = attaching.Wanted(
        volume=volume.id,
        device=body.get("device"),
        tag=body.get("tag"),
        multiattach=volume.multiattach,
        delete_on_termination=is_true(body.get("delete_on_termination", False)),
    )
    begun = attaching.attach(asked, instance, wanted, services)
    if asked.at_least(101):
        return accepted(begun.operation)
    told = {"volumeAttachment": _reserved(begun.row, asked)}
    return accepted(begun.operation, status=200, body=told)


def _volume(asked: Asked, services: Services) -> Volume:
    """Return the volume, if its caller may have it: the volume service is asked as the worker."""
    wanted = VolumeId(asked.body["volumeAttachment"]["volumeId"].lower())
    volume = owned_volume(asked, wanted, services)
    if volume.multiattach and not asked.at_least(60):
        message = "Multiattach volumes are only supported starting with compute API version 2.60."
        raise Refused(400, message)
    return volume


def _reserved(row: Json, asked: Asked) -> Json:
    """Return the row as it was reserved; ``id`` is in it at whatever microversion, as in Nova."""
    volume = row["volume_id"]
    told: Json = {"id": volume, "serverId": row["instance_uuid"], "volumeId": volume}
    told["device"] = row["device_name"]
    if asked.at_least(70):
        told["tag"] = row["tag"]
    if asked.at_least(79):
        told["delete_on_termination"] = row["delete_on_termination"]
    return told


def delete(asked: Asked, services: Services) -> Answer:
    """Detach a volume."""
    instance = server_of(asked, services).instance
    row = services.fleet.device(instance.uuid, VolumeId(asked.path["volume_id"]))
    row = attached(instance.uuid, asked, services) if row is None else row
    check_may_leave(row)
    check_takes("detach_volume", instance)
    named = {"volume_id": row.volume, "bdm_uuid": row.uuid}
    return accepted(begin(instance, "detach_volume", asked, services, **named))


_ONE = "/v2.1/servers/{server_id}/os-volume_attachments/{volume_id}"
_ALL = "/v2.1/servers/{server_id}/os-volume_attachments"

ROUTES = (
    Route(
        method="GET",
        path=_ALL,
        act=index,
        does="List the volumes of a server",
        rule="os_compute_api:os-volumes-attachments:index",
        query=(From(schema=schemas.INDEX, minor=1), From(schema=schemas.INDEX_275, minor=75)),
        answers={200: schemas.LISTED},
    ),
    Route(
        method="POST",
        path=_ALL,
        act=create,
        does="Attach a volume to a server",
        rule="os_compute_api:os-volumes-attachments:create",
        body=(
            From(schema=schemas.CREATE, minor=1),
            From(schema=schemas.CREATE_249, minor=49),
            From(schema=schemas.CREATE_279, minor=79),
        ),
        answers={200: schemas.ONE, 202: None},
    ),
    Route(
        method="GET",
        path=_ONE,
        act=show,
        does="Show a volume of a server",
        rule="os_compute_api:os-volumes-attachments:show",
        answers={200: schemas.ONE},
    ),
    Route(
        method="PUT",
        path=_ONE,
        act=swapping.swap,
        does="Put another volume in the place of one of a server's",
        rule=swapping.RULE,
        until=84,
        body=(From(schema=schemas.SWAP, minor=1),),
        answers={202: None},
    ),
    Route(
        method="PUT",
        path=_ONE,
        act=swapping.update,
        does="Change what is said of a volume of a server, or put another in its place",
        rule="os_compute_api:os-volumes-attachments:update",
        since=85,
        body=(From(schema=schemas.UPDATE_285, minor=85),),
        answers={202: None},
    ),
    Route(
        method="DELETE",
        path=_ONE,
        act=delete,
        does="Detach a volume from a server",
        rule="os_compute_api:os-volumes-attachments:delete",
        answers={202: None},
    ),
)
