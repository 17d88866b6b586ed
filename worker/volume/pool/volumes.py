"""The pool as a place to make volumes."""

import os
from pathlib import Path

from worker.errors import (
    RequestMalformed,
    VolumeFileUnusable,
    VolumeInUse,
    VolumeTaken,
    WorkerError,
)
from worker.model.ids import VolumeId, is_uuid
from worker.model.volume import PoolVolume, Volume, VolumeStatus
from worker.ports import PoolRecords, PoolVolumes
from worker.volume.pool import examine, files
from worker.volume.pool.status import require


class FilePool(PoolVolumes):
    """Volumes are sparse files in a folder of the pool's, or files of others in their place.

    The records decide what is a volume. A volume's own file is there before its record and gone
    after it, so that a record never names a file that was not made or is removed already; a call
    that was cut off between the two is finished by making it again.
    """

    def __init__(self, *, records: PoolRecords, folder: Path) -> None:
        self._records = records
        self._folder = Path(os.path.realpath(folder))

    def confirm(
        self, volume: VolumeId, *, size: int | None, path: str | None, name: str, multiattach: bool
    ) -> None:
        """Check that a volume there is, is the one described.

        Raises VolumeTaken, VolumeNotFound, RequestMalformed.
        """
        wanted = _wanted(volume, size=size, path=path, name=name, multiattach=multiattach)
        self._again(require(self._records, volume), wanted, path)

    def create(
        self, volume: VolumeId, *, size: int | None, path: str | None, name: str, multiattach: bool
    ) -> Volume:
        """Make a sparse file of ``size`` bytes, or take the one at ``path``.

        Raises RequestMalformed, VolumeFileUnusable, VolumeTaken, VolumeServiceUnavailable.
        """
        wanted = _wanted(volume, size=size, path=path, name=name, multiattach=multiattach)
        existing = self._records.volume(volume)
        if existing is not None:
            return self._again(existing, wanted, path)
        return self._make(wanted) if path is None else self._take(wanted, path)

    def delete(self, volume: VolumeId) -> None:
        """Forget the volume, then its file; raises VolumeInUse, VolumeServiceUnavailable."""
        record = self._records.volume(volume)
        if record is None:
            self._finish_delete(volume)
            return
        if not record.owned:
            self._records.drop_volume(volume)
            return
        # The record goes first: that alone is refused, in one transaction, to who has the volume.
        # Then nothing but the note tells the file, should this be cut off, from a stranger's.
        place = Path(record.path)
        files.condemn(place)
        try:
            self._records.drop_volume(volume)
        except VolumeInUse:
            files.reprieve(place)
            raise
        files.remove(place)

    def list(self) -> tuple[Volume, ...]:
        """Return every volume, by name and id."""
        volumes = (record.volume for record in self._records.volumes())
        return tuple(sorted(volumes, key=lambda volume: (volume.name, volume.id)))

    def _again(self, existing: PoolVolume, wanted: Volume, path: str | None) -> Volume:
        kept = existing.volume
        if path is None:
            same_place = existing.owned and kept.size == wanted.size
        else:
            same_place = not existing.owned and existing.path == examine.real_path(path)
        if not (same_place and (kept.name, kept.multiattach) == (wanted.name, wanted.multiattach)):
            raise VolumeTaken(f"volume {wanted.id} exists and is another one")
        return kept

    def _make(self, volume: Volume) -> Volume:
        files.check_size(volume.size)
        place = self._place(volume.id)
        files.make_sparse(place, volume.size)
        try:
            self._records.put_volume(PoolVolume(volume=volume, path=str(place), owned=True))
        except WorkerError:
            # A commit whose answer was lost may have happened; then the file has an owner.
            if self._records.volume(volume.id) is None:
                files.remove_leftover(place)
            raise
        return volume

    def _take(self, volume: Volume, path: str) -> Volume:
        found = examine.examine(path)
        self._refuse_second_owner(found.path)
        taken = Volume(
            id=volume.id,
            size=found.size,
            status=volume.status,
            name=volume.name,
            multiattach=volume.multiattach,
        )
        self._records.put_volume(PoolVolume(volume=taken, path=found.path, owned=False))
        return taken

    def _refuse_second_owner(self, path: str) -> None:
        if Path(path).parent == self._folder:
            raise VolumeFileUnusable(
                f"{path!r} cannot be a volume: it is in the pool's own folder; move it elsewhere"
            )
        for record in self._records.volumes():
            if examine.same_file(record.path, path):
                raise VolumeTaken(f"{path} is the file of volume {record.volume.id} already")

    def _finish_delete(self, volume: VolumeId) -> None:
        if is_uuid(volume):
            files.remove_leftover(self._place(volume))

    def _place(self, volume: VolumeId) -> Path:
        return self._folder / f"{volume}.raw"


def _wanted(
    volume: VolumeId, *, size: int | None, path: str | None, name: str, multiattach: bool
) -> Volume:
    """Return the volume that is asked for; raises RequestMalformed."""
    if not is_uuid(volume):
        raise RequestMalformed(f"volume id {volume!r} is no UUID")
    if (size is None) == (path is None):
        raise RequestMalformed("a volume needs either a size or a file, and not both")
    return Volume(
        id=volume,
        size=size or 0,
        status=VolumeStatus.AVAILABLE,
        name=name,
        multiattach=multiattach,
    )
