"""What the built-in pool would be asked to do, with volumes that are Cinder's."""

import requests

from worker.errors import RequestMalformed
from worker.model.ids import VolumeId
from worker.model.volume import NewVolume, Volume
from worker.ports import PoolVolumes
from worker.volume.cinder.faults import CinderRefused, of_volume
from worker.volume.cinder.session import CinderSession

SAID = "this worker's volumes are Cinder's ([volume] service): make and list them there"


class CinderMaking(PoolVolumes):
    """Deletes volumes, such as go with their instance; makes none."""

    def __init__(self, session: CinderSession) -> None:
        """Ask by the session."""
        self._session = session

    def confirm(self, wanted: NewVolume) -> None:
        """Refuse; raises RequestMalformed."""
        raise RequestMalformed(f"volume {wanted.id}: {SAID}")

    def create(self, wanted: NewVolume) -> Volume:
        """Refuse; raises RequestMalformed."""
        raise RequestMalformed(f"volume {wanted.id}: {SAID}")

    def check_growth(self, volume: VolumeId, _size: int) -> None:
        """Refuse; raises RequestMalformed."""
        raise RequestMalformed(f"volume {volume}: {SAID}")

    def grow(self, volume: VolumeId, _size: int) -> Volume:
        """Refuse; raises RequestMalformed."""
        raise RequestMalformed(f"volume {volume}: {SAID}")

    def delete(self, volume: VolumeId) -> None:
        """Have Cinder delete the volume; raises VolumeInUse. One that is not there is fine."""
        try:
            self._session.ask("DELETE", f"/volumes/{volume}")
        except CinderRefused as error:
            if error.status != requests.codes.not_found:
                raise of_volume(error, volume) from error

    def list(self) -> tuple[Volume, ...]:
        """Refuse; raises RequestMalformed."""
        raise RequestMalformed(SAID)
