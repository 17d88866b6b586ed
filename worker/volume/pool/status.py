"""The pool as a volume service: what it says of its volumes."""

from worker.errors import EncryptionUnsupported, VolumeNotFound
from worker.model.ids import VolumeId
from worker.model.volume import Encryption, PoolVolume, Volume, VolumeStatus
from worker.ports import PoolRecords, Volumes
from worker.volume.pool.luks import pool_key


class PoolStatus(Volumes):
    """Volumes as the records have them; no file is read."""

    def __init__(self, *, records: PoolRecords) -> None:
        self._records = records

    def show(self, volume: VolumeId) -> Volume:
        """Return the volume; raises VolumeNotFound."""
        return require(self._records, volume).volume

    def encryption(self, volume: VolumeId) -> Encryption:
        """Say that its host opens it: by a key of the pool's own, or one named as the volume.

        Raises VolumeNotFound, EncryptionUnsupported for one that is not encrypted.
        """
        record = require(self._records, volume)
        if not record.volume.encrypted:
            raise EncryptionUnsupported(f"volume {volume} is not encrypted")
        return Encryption(provider="luks", key=pool_key(volume) if record.owned else None)

    def begin_detaching(self, volume: VolumeId) -> None:
        """Mark a volume that is in use as detaching; any other is left as it is.

        So is one that takes several attachments: it stays in use by the others. A detach that is
        run again may find its attachment, or even the volume, gone already.
        """
        record = self._records.volume(volume)
        if record is not None and not record.volume.multiattach:
            self._records.set_status(
                volume, VolumeStatus.DETACHING, only_from=(VolumeStatus.IN_USE,)
            )

    def roll_detaching(self, volume: VolumeId) -> None:
        """Mark a detaching volume as in use again; one that is not detaching is fine."""
        self._records.set_status(volume, VolumeStatus.IN_USE, only_from=(VolumeStatus.DETACHING,))


def require(records: PoolRecords, volume: VolumeId) -> PoolVolume:
    """Return the volume's record; raises VolumeNotFound."""
    record = records.volume(volume)
    if record is None:
        raise VolumeNotFound(f"the pool has no volume {volume}")
    return record
