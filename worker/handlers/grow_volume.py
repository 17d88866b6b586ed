"""Make a volume of the built-in pool larger."""

from dataclasses import dataclass

from worker.errors import DatabaseUnavailable, Invalid, NotFound
from worker.model.ids import VolumeId
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowVolume:
    """Operation on the pool: have a volume be of ``size`` bytes, whoever has it.

    A guest that has it is told by ``extend_volume``.
    """

    volume_id: VolumeId
    size: int


def grow_volume(request: GrowVolume, ports: Ports) -> None:
    """Make the volume larger; of that size already is a success.

    What has become larger stays so: once the pool has not refused it only goes forward.
    """
    try:
        # A guest's extend reads the size and sets it: it would cut what grows in between.
        with ports.sharing.alone(request.volume_id):
            ports.pool.grow(request.volume_id, request.size)
    except (Invalid, NotFound, DatabaseUnavailable):
        raise
    except Exception:
        ports.progress.pass_commit_point()
        raise
