"""``os-volume_attachments``: the volumes of a server."""

from worker.api.asked import Answer, Asked, Json, Refused
from worker.api.compute import attaching
from worker.api.compute.access import server_of
from worker.api.route import From, Route
from worker.api.schemas import attachments as schemas
from worker.api.services import Services
from worker.model.block_device import BlockDevice
from worker.model.ids import VolumeId, new_uuid
from worker.persistence.fleet import Server
from worker.persistence.fleet.attached import AttachedVolume

OPERATION = "X-Blockworker-Operation"
"""The header that names the operation which a request has begun."""


def index(asked: Asked, services: Services) -> Answer:
    """List the volumes of a server."""
    server = server_of(asked, services)
    rows = services.fleet.attached(server.instance.uuid)
    return Answer(body={"volumeAttachments": [_shown(row, asked) for row in rows]})


def show(asked: Asked, services: Services) -> Answer:
    """Show one volume of a server."""
    row = _row_of(server_of(asked, services), asked, services)
    return Answer(body={"volumeAttachment": _shown(row, asked)})


def create(asked: Asked, services: Services) -> Answer:
    """Attach a volume."""
    server = server_of(asked, services)
    body = asked.body["volumeAttachment"]
    wanted = attaching.Wanted(
        volume=VolumeId(body["volumeId"]),
        device=body.get("device"),
        tag=body.get("tag"),
        multiattach=asked.at_least(60),
        delete_on_termination=body.get("delete_on_termination", False),
    )
    accepted = attaching.attach(asked, server.instance, wanted, services)
    headers = {OPERATION: accepted.operation}
    if asked.at_least(101):
        return Answer(status=202, headers=headers)
    row = services.fleet.row(accepted.row["uuid"])
    if row is None:
        raise Refused(404, f"volume {wanted.volume} is not attached any more")
    return Answer(body={"volumeAttachment": _shown(row, asked)}, headers=headers)


def delete(asked: Asked, services: Services) -> Answer:
    """Detach a volume."""
    server = server_of(asked, services)
    row = _row_of(server, asked, services)
    operation = new_uuid()
    services.workers.call(
        server.instance.host,
        "detach_volume",
        request_id=asked.request_id,
        operation_id=operation,
        instance_uuid=server.instance.uuid,
        volume_id=row.volume,
        bdm_uuid=row.uuid,
    )
    return Answer(status=202, headers={OPERATION: operation})


def _row_of(server: Server, asked: Asked, services: Services) -> BlockDevice:
    volume = VolumeId(asked.path["volume_id"])
    row = services.fleet.device(server.instance.uuid, volume)
    if row is None:
        message = f"volume_id not found: {volume} is not attached to {server.instance.uuid}"
        raise Refused(404, message)
    return row


def _shown(row: BlockDevice | AttachedVolume, asked: Asked) -> Json:
    shown: Json = {"serverId": row.instance, "volumeId": row.volume, "device": row.device_name}
    if not asked.at_least(89):
        shown["id"] = row.volume
    if asked.at_least(70):
        shown["tag"] = row.tag
    if asked.at_least(79):
        shown["delete_on_termination"] = row.delete_on_termination
    if asked.at_least(89):
        shown |= {"attachment_id": row.attachment, "bdm_uuid": row.uuid}
    return shown


_ONE = "/v2.1/servers/{server_id}/os-volume_attachments/{volume_id}"
_ALL = "/v2.1/servers/{server_id}/os-volume_attachments"
_RULE = "os_compute_api:os-volumes-attachments:"

ROUTES = (
    Route(
        method="GET",
        path=_ALL,
        act=index,
        does="List the volumes of a server",
        rule=_RULE + "index",
        answers={200: schemas.LISTED},
    ),
    Route(
        method="POST",
        path=_ALL,
        act=create,
        does="Attach a volume to a server",
        rule=_RULE + "create",
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
        rule=_RULE + "show",
        answers={200: schemas.ONE},
    ),
    Route(
        method="DELETE",
        path=_ONE,
        act=delete,
        does="Detach a volume from a server",
        rule=_RULE + "delete",
        answers={202: None},
    ),
)
