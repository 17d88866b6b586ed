"""The volumes of the pool, as far as a caller may know of them."""

from collections.abc import Iterable

from worker.api.asked import Asked, Refused
from worker.api.ruling import check_rule
from worker.api.services import Services
from worker.errors import VolumeNotFound
from worker.model.ids import VolumeId, is_uuid
from worker.model.volume import Volume
from worker.persistence.fleet.pool import FleetPool, Pooled


def pool_of(services: Services) -> FleetPool:
    """Return the pool; raises Refused (404) where the volumes are not the pool's."""
    if services.pool is None:
        where = services.cinder or "its own endpoint"
        raise Refused(404, f"volumes are not kept here: they are Cinder's, at {where}; ask there")
    return services.pool


def visible(asked: Asked, found: Iterable[Pooled], *, everyone: bool) -> list[Pooled]:
    """Return those that a list shows: the caller's project's, or with ``everyone`` all.

    An administrator is shown an operator's too, which no project has.
    """
    return [
        seen
        for seen in found
        if (everyone and asked.who.is_admin)
        or asked.who.owns(seen.volume.project_id)
        or (asked.who.is_admin and seen.volume.project_id is None)
    ]


def volume_of(asked: Asked, services: Services) -> Pooled:
    """Return the volume that the path names; raises VolumeNotFound, for another project's too.

    The route's rule is asked again, with its owner. Raises Refused (403).
    """
    pool, wanted = pool_of(services), asked.path["volume_id"]
    found = pool.find(VolumeId(wanted)) if is_uuid(wanted) else None
    if found is None or not asked.who.may_see(found.volume.project_id):
        raise not_found(wanted)
    check_rule(asked, services, {"project_id": found.volume.project_id, "user_id": None})
    return found


def owned_volume(asked: Asked, volume: VolumeId, services: Services) -> Volume:
    """Return a volume that the caller may attach, of the pool or of Cinder.

    Whose it is says the volume service, for the worker's account may see them all. Where it does
    not say, the volume is an administrator's: what nobody has claimed is nobody else's. Raises
    VolumeNotFound, in the same words for what is another's and for what is not there.
    """
    try:
        found = services.volumes.show(volume)
    except VolumeNotFound as error:
        raise not_found(volume) from error
    if not asked.who.may_see(found.project_id):
        raise not_found(volume)
    return found


def not_found(volume: str) -> VolumeNotFound:
    """Return what is said of a volume that is not there, or that the caller may not know of."""
    return VolumeNotFound(f"Volume {volume} could not be found.")
