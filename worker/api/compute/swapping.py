"""``PUT os-volume_attachments``: another volume in the place of one, and what is said of it."""

from worker.api.asked import Answer, Asked, Json, Refused, accepted
from worker.api.beginning import begin
from worker.api.compute.access import any_server, may_see, not_found, server_of
from worker.api.compute.attached import attached
from worker.api.compute.taken_from import check_takes
from worker.api.services import Services
from worker.api.words import is_true
from worker.errors import VolumeNotFound
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.ids import OperationId, VolumeId
from worker.model.instance import Instance
from worker.model.volume import Volume, VolumeStatus

RULE = "os_compute_api:os-volumes-attachments:swap"

_FREE = (VolumeStatus.AVAILABLE, VolumeStatus.RESERVED)


def swap(asked: Asked, services: Services) -> Answer:
    """Put another volume in the place of one, which is all that there was before 2.85.

    Of a service it may be anybody's server: Cinder asks for volumes of all projects.
    """
    instance = _server(asked, services)
    row = attached(instance.uuid, asked, services)
    return accepted(_swap(instance, row, asked, services))


def update(asked: Asked, services: Services) -> Answer:
    """Change what is said of a volume of a server, then put another in its place, if one is named.

    What cannot be changed must be as it is, so that an answer's text can be sent back.
    """
    instance = server_of(asked, services).instance
    body = asked.body["volumeAttachment"]
    row = attached(instance.uuid, asked, services)
    other = body["volumeId"].lower() != row.volume
    if other:
        services.policy.check(RULE, asked.who, {})
    _check_same(body, row)
    begun = _update(instance, row, asked, services)
    if other:
        begun.append(_swap(instance, row, asked, services))
    return accepted(*begun)


def _server(asked: Asked, services: Services) -> Instance:
    wanted = asked.path["server_id"]
    server = any_server(wanted, services)
    if not (_is_service(asked) or may_see(asked, server)):
        raise not_found(wanted)
    services.policy.check(RULE, asked.who, {})
    return server.instance


def _check_same(body: Json, row: BlockDevice) -> None:
    kept = {
        "id": row.volume,
        "serverId": row.instance,
        "device": row.device_name,
        "tag": row.tag,
    }
    for name, value in kept.items():
        if name in body and body[name] != value:
            raise Refused(400, f"The {name} property is not mutable; it is {value!r}")


def _update(
    instance: Instance, row: BlockDevice, asked: Asked, services: Services
) -> list[OperationId]:
    said = asked.body["volumeAttachment"].get("delete_on_termination")
    if said is None or is_true(said) is row.delete_on_termination:
        return []
    changes = {"bdm_uuid": row.uuid, "delete_on_termination": is_true(said)}
    return [begin(instance, "update_block_device", asked, services, **changes)]


def _swap(instance: Instance, row: BlockDevice, asked: Asked, services: Services) -> OperationId:
    """Begin it; the worker makes the attachment itself, so there is nothing to give back."""
    check_takes("swap_volume", instance)
    if row.status is not DeviceStatus.ATTACHED:
        raise Refused(409, f"volume {row.volume} is {row.status}; only an attached one is swapped")
    wanted = VolumeId(asked.body["volumeAttachment"]["volumeId"].lower())
    try:
        new = services.volumes.show(wanted)
    except VolumeNotFound as error:
        raise Refused(400, f"Volume {wanted} could not be found.") from error
    if not (_is_service(asked) or asked.who.may_see(new.project_id)):
        raise Refused(400, f"Volume {wanted} could not be found.")
    _check_fits(new, services.volumes.show(row.its_volume))
    named = {"bdm_uuid": row.uuid, "new_volume_id": wanted}
    return begin(instance, "swap_volume", asked, services, **named)


def _is_service(asked: Asked) -> bool:
    """Tell whether another service asks, Cinder say, which moves volumes of all projects."""
    return "service" in asked.who.roles


def _check_fits(new: Volume, old: Volume) -> None:
    if old.multiattach or new.multiattach:
        raise Refused(400, "Swapping multi-attach volumes is not supported.")
    if old.migrating or new.migrating:
        # Cinder would wait for ever to be told that it is done, and keeps the volume till then.
        message = f"volume {old.id} cannot be migrated while it is attached; detach it first"
        raise Refused(409, message)
    if new.status not in _FREE:
        message = f"Invalid volume: volume {new.id} is {new.status}; it must be free to swap"
        raise Refused(400, message)
    if new.size < old.size:
        message = f"Invalid volume: volume {new.id} must be as large as {old.id}, or larger"
        raise Refused(400, message)
