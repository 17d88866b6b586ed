"""Volumes that a server is to be built with, as far as the caller may have them."""

from collections.abc import Sequence

from worker.api.asked import Asked, Refused
from worker.api.services import Services
from worker.api.volume.pooled import owned_volume
from worker.errors import VolumeNotFound
from worker.model.ids import VolumeId
from worker.model.volume import Volume, VolumeStatus


def check_volumes(volumes: Sequence[str], asked: Asked, services: Services) -> None:
    """Raise Refused (400) unless each is there and free; VolumeServiceUnavailable.

    Another project's is not there. What becomes of them afterwards the worker sees to.
    """
    for volume in volumes:
        _check(VolumeId(volume), asked, services)


def _check(volume: VolumeId, asked: Asked, services: Services) -> None:
    found = _found(volume, asked, services)
    shared = found.multiattach and found.status is VolumeStatus.IN_USE
    if found.status is not VolumeStatus.AVAILABLE and not shared:
        message = (
            f"Invalid volume: status of volume {volume} is {found.status}, and available is needed"
        )
        raise Refused(400, message)


def _found(volume: VolumeId, asked: Asked, services: Services) -> Volume:
    try:
        return owned_volume(asked, volume, services)
    except VolumeNotFound as error:
        message = f"Block Device Mapping is Invalid: failed to get volume {volume}."
        raise Refused(400, message) from error
