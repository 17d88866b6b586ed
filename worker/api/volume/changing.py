"""``/v3/volumes``: volumes of the built-in pool, made, made larger and deleted.

Each is an operation of a worker's, and accepted is all that the answer says; the volume's status
tells what becomes of it.
"""

from datetime import timedelta

from worker.api.asked import Answer, Asked, Json, Refused, accepted
from worker.api.beginning import begin, begin_at
from worker.api.route import From, Route, Service
from worker.api.schemas import volumes as schemas
from worker.api.services import Services
from worker.api.volume.places import host_for, host_of
from worker.api.volume.pooled import pool_of, volume_of
from worker.api.volume.shown import ENCRYPTED, MULTIATTACH, TYPES, detail
from worker.model.block_device import DeviceStatus
from worker.model.ids import OperationId, VolumeId, new_uuid
from worker.model.volume import GIB, Volume, VolumeStatus
from worker.persistence.fleet.pool import Pooled

_NOT_HERE = {
    "description": "the pool keeps no descriptions",
    "metadata": "the pool keeps no properties",
    "snapshot_id": "the pool has no snapshots",
    "source_volid": "the pool copies no volumes",
    "imageRef": "the pool makes no volumes of images",
    "backup_id": "the pool has no backups",
    "consistencygroup_id": "the pool has no groups",
    "group_id": "the pool has no groups",
}


def create(asked: Asked, services: Services) -> Answer:
    """Make a volume."""
    pool_of(services)
    body = asked.body["volume"]
    _check_is_known(body)
    traits = _traits(body.get("volume_type"))
    volume = Volume(
        id=VolumeId(new_uuid()),
        size=int(body["size"]) * GIB,
        status=VolumeStatus.CREATING,
        name=body.get("name") or "",
        multiattach=MULTIATTACH in traits or body.get("multiattach") is True,
        encrypted=ENCRYPTED in traits,
        project_id=asked.who.project_id,
    )
    host = host_for(body.get("availability_zone"), asked, services)
    operation = _make(asked, host, volume, services)
    seen = Pooled(volume=volume, host=host, created_at=services.clock())
    return accepted(operation, body={"volume": detail(asked, seen, ())})


def delete(asked: Asked, services: Services) -> Answer:
    """Delete a volume that nobody has."""
    seen = volume_of(asked, services)
    if asked.query.get("force", ["false"])[0].lower() in ("true", "1"):
        raise Refused(400, "nothing is deleted by force here: detach the volume, then delete it")
    _check_status(seen, VolumeStatus.AVAILABLE, VolumeStatus.ERROR)
    return accepted(_ask(asked, seen, services, "delete_volume"))


def act(asked: Asked, services: Services) -> Answer:
    """Make a volume larger."""
    seen = volume_of(asked, services)
    if "os-extend" not in asked.body:
        (action,) = asked.body
        raise Refused(400, f"the pool does not know the action {action}; os-extend it does")
    size = int(asked.body["os-extend"]["new_size"])
    if size <= seen.volume.size_gib:
        has = seen.volume.size_gib
        raise Refused(400, f"new_size {size} is not more than the {has} GiB that the volume has")
    _check_status(seen, VolumeStatus.AVAILABLE, VolumeStatus.IN_USE)
    if seen.volume.status is VolumeStatus.IN_USE:
        return accepted(_extend_attached(asked, seen, services, size * GIB))
    return accepted(_ask(asked, seen, services, "grow_volume", size=size * GIB))


def _extend_attached(asked: Asked, seen: Pooled, services: Services, size: int) -> OperationId:
    """Have the volume grow and its guest see it, by one operation; raises Refused."""
    volume, host = seen.volume.id, host_of(seen, services)
    holders = pool_of(services).holders([volume])
    if len(holders) != 1 or holders[0].host != host:
        why = f"{len(holders)} servers have it" if len(holders) != 1 else "its server is elsewhere"
        raise Refused(400, f"volume {volume} is in use, and {why}: {_EXTENDED_BY_HAND}")
    server = services.fleet.server(holders[0].instance)
    row = services.fleet.device(holders[0].instance, volume)
    if server is None or row is None or row.status is not DeviceStatus.ATTACHED:
        is_now = "gone" if row is None else row.status
        raise Refused(400, f"volume {volume} is in use, but its device is {is_now}: ask again")
    wanted = {"bdm_uuid": row.uuid, "new_size": size, "grow": True}
    return begin(server.instance, "extend_volume", asked, services, **wanted)


_EXTENDED_BY_HAND = (
    "detach it first; or have its operator run `blockworker volume extend`, and then"
    " `blockworker device extend` for each server, so that its guest sees it"
)


def _make(asked: Asked, host: str, volume: Volume, services: Services) -> OperationId:
    latest = services.clock() + timedelta(seconds=services.limits.accepting)
    return begin_at(
        host,
        "create_volume",
        asked,
        services,
        expires_at=latest.isoformat(),
        volume_id=volume.id,
        size=volume.size,
        name=volume.name,
        multiattach=volume.multiattach,
        encrypted=volume.encrypted,
        project_id=volume.project_id,
    )


def _ask(asked: Asked, seen: Pooled, services: Services, method: str, **more: int) -> OperationId:
    host, volume = host_of(seen, services), seen.volume.id
    return begin_at(host, method, asked, services, volume_id=volume, **more)


def _check_status(seen: Pooled, *allowed: VolumeStatus) -> None:
    if seen.volume.status in allowed:
        return
    words = " or ".join(allowed)
    raise Refused(
        400,
        f"Invalid volume: {seen.volume.id} is {seen.volume.status}, and must be {words}; wait, or"
        " detach it first",
    )


def _check_is_known(body: Json) -> None:
    for name, why in _NOT_HERE.items():
        if body.get(name):
            raise Refused(400, f"{name} cannot be said: {why}; leave it out")


def _traits(name: str | None) -> frozenset[str]:
    traits = TYPES.get(name or "__DEFAULT__")
    if traits is None:
        raise Refused(404, f"there is no volume type {name}; there are {', '.join(TYPES)}")
    return traits


_ONE = "/v3/volumes/{volume_id}"

ROUTES = (
    Route(
        method="POST",
        path="/v3/volumes",
        act=create,
        does="Make a volume",
        rule="volume:create",
        service=Service.VOLUME,
        body=(From(schema=schemas.CREATE),),
        answers={202: schemas.ONE},
    ),
    Route(
        method="DELETE",
        path=_ONE,
        act=delete,
        does="Delete a volume",
        rule="volume:delete",
        service=Service.VOLUME,
        query=(From(schema=schemas.DELETING),),
        answers={202: None},
    ),
    Route(
        method="POST",
        path=_ONE + "/action",
        act=act,
        does="Make a volume larger",
        rule="volume:extend",
        service=Service.VOLUME,
        body=(From(schema=schemas.ACTION),),
        answers={202: None},
    ),
)
