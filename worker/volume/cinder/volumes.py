"""Cinder, seen as volumes."""

from worker.errors import EncryptionUnsupported, VolumeInUse, VolumeNotFound
from worker.model.ids import KeyId, VolumeId
from worker.model.volume import Encryption, Volume, VolumeStatus
from worker.ports import Volumes
from worker.volume.cinder.faults import CinderRefused, of_volume, understood
from worker.volume.cinder.reading import Said, volume_of
from worker.volume.cinder.session import CinderSession

BY_THE_HOST = "front-end"
"""Cinder's word for a volume whose content leaves the storage encrypted."""


class CinderVolumes(Volumes):
    """Volumes as Cinder has them."""

    def __init__(self, session: CinderSession) -> None:
        """Ask by the session."""
        self._session = session

    def show(self, volume: VolumeId) -> Volume:
        """Return the volume; raises VolumeNotFound, VolumeServiceUnavailable."""
        said = self._of(volume)
        with understood():
            return volume_of(said["volume"])

    def encryption(self, volume: VolumeId) -> Encryption:
        """Return how its host is to open it.

        Raises VolumeNotFound, VolumeServiceUnavailable, EncryptionUnsupported for one that is not
        encrypted, or by its storage.
        """
        if not self.show(volume).encrypted:
            raise EncryptionUnsupported(f"volume {volume} is not encrypted")
        said = self._of(volume, "/encryption")
        if said.get("control_location") != BY_THE_HOST:
            raise EncryptionUnsupported(
                f"volume {volume} is encrypted by {said.get('control_location')!r}, and the worker"
                f" knows {BY_THE_HOST!r} alone"
            )
        with understood():
            key = said["encryption_key_id"]
            return Encryption(provider=str(said["provider"]), key=KeyId(key) if key else None)

    def begin_detaching(self, volume: VolumeId) -> None:
        """Mark a volume that is in use as detaching; any other is left as it is.

        So is one that takes several attachments: it stays in use by the others. A detach that is
        run again may find the volume gone already.
        """
        if not self._is_held_once(volume):
            return
        try:
            self._act(volume, "os-begin_detaching")
        except VolumeInUse:
            # Its state has changed since.
            if self._is_held_once(volume):
                raise

    def roll_detaching(self, volume: VolumeId) -> None:
        """Mark a detaching volume as in use again; any other, and none, is fine."""
        try:
            self._act(volume, "os-roll_detaching")
        except VolumeNotFound:
            return

    def _is_held_once(self, volume: VolumeId) -> bool:
        try:
            found = self.show(volume)
        except VolumeNotFound:
            return False
        return found.status is VolumeStatus.IN_USE and not found.multiattach

    def _act(self, volume: VolumeId, action: str) -> None:
        try:
            self._session.ask("POST", f"/volumes/{volume}/action", {action: {}})
        except CinderRefused as error:
            raise of_volume(error, volume) from error

    def _of(self, volume: VolumeId, what: str = "") -> Said:
        try:
            return self._session.ask("GET", f"/volumes/{volume}{what}")
        except CinderRefused as error:
            raise of_volume(error, volume) from error
