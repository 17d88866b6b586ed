"""The pool as a place to make volumes."""

import os
from dataclasses import replace
from pathlib import Path

from worker.errors import (
    ProtocolUnsupported,
    RequestMalformed,
    VolumeFileUnusable,
    VolumeInUse,
    VolumeTaken,
    WorkerError,
)
from worker.model.connection import Connection
from worker.model.ids import VolumeId, is_uuid
from worker.model.volume import NewVolume, PoolVolume, Volume, VolumeStatus
from worker.ports import PoolRecords, PoolVolumes
from worker.volume.pool import examine, files
from worker.volume.pool.faces import Face
from worker.volume.pool.luks import LuksContent
from worker.volume.pool.status import require
from worker.volume.treatment import check_treatment


class FilePool(PoolVolumes):
    """Volumes are sparse files in a folder of the pool's, or files of others in their place.

    The records decide what is a volume. A volume's own file is there before its record and gone
    after it, so that a record never names a file that was not made or is removed already; a call
    that was cut off between the two is finished by making it again.
    """

    def __init__(
        self, *, records: PoolRecords, folder: Path, face: Face, content: LuksContent | None = None
    ) -> None:
        self._records = records
        self._content = content or LuksContent(None)
        self._folder = Path(os.path.realpath(folder))
        self._face = face

    def confirm(self, wanted: NewVolume) -> None:
        """Check that a volume there is, is the one described.

        Raises VolumeTaken, VolumeNotFound, RequestMalformed.
        """
        _check(wanted)
        self._again(require(self._records, wanted.id), wanted)

    def create(self, wanted: NewVolume) -> Volume:
        """Make a sparse file of a size, or take the one at a path.

        Raises RequestMalformed, VolumeFileUnusable, VolumeTaken, VolumeServiceUnavailable.
        """
        _check(wanted)
        existing = self._records.volume(wanted.id)
        if existing is not None:
            kept = self._again(existing, wanted)
            self._format(existing)
            return kept
        return self._make(wanted) if wanted.path is None else self._take(wanted, wanted.path)

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
        self._content.forget(volume)

    def check_growth(self, volume: VolumeId, size: int) -> None:
        """Refuse what ``grow`` refuses; also a file of the pool's that is not on this host.

        Raises RequestMalformed, VolumeNotFound, VolumeFileUnusable, WrongDevice.
        """
        grown = self._grown(volume, size)
        if grown.owned:
            examine.check_present(require(self._records, volume))
        else:
            examine.check_grown(grown)

    def grow(self, volume: VolumeId, size: int) -> Volume:
        """Make the file larger, if it is the pool's own; one of others has to be so already.

        The file first, then the record, then who has it: cut off, the same call goes on.
        """
        with self._face.alone():
            grown = self._grown(volume, size)
            if grown.owned:
                files.make_larger(Path(grown.path), size)
            examine.check_grown(grown)
            self._records.set_size(volume, size)
            self._face.grown(grown, self._records.attachments(volume))
        return grown.volume

    def list(self) -> tuple[Volume, ...]:
        """Return every volume, by name and id."""
        volumes = (record.volume for record in self._records.volumes())
        return tuple(sorted(volumes, key=lambda volume: (volume.name, volume.id)))

    def _grown(self, volume: VolumeId, size: int) -> PoolVolume:
        """Return the volume as it is to become; raises RequestMalformed, VolumeNotFound."""
        files.check_size(size)
        record = require(self._records, volume)
        if size < record.volume.size:
            has = record.volume.size
            raise RequestMalformed(f"volume {volume} has {has} bytes: it cannot become smaller")
        return replace(record, volume=replace(record.volume, size=size))

    def _again(self, existing: PoolVolume, wanted: NewVolume) -> Volume:
        kept = existing.volume
        if wanted.path is None:
            same_place = existing.owned and kept.size == wanted.size
        else:
            same_place = not existing.owned and existing.path == examine.real_path(wanted.path)
        same = _described(existing) == (
            wanted.name,
            wanted.multiattach,
            wanted.encrypted,
            wanted.project_id,
            wanted.options,
        )
        if not (same_place and same):
            raise VolumeTaken(f"volume {wanted.id} exists and is another one")
        return kept

    def _make(self, wanted: NewVolume) -> Volume:
        volume = _volume(wanted, wanted.size or 0)
        files.check_size(volume.size)
        if volume.encrypted:
            self._content.check(volume.size)
        place = self._place(volume.id)
        files.make_sparse(place, volume.size)
        made = PoolVolume(volume=volume, path=str(place), owned=True, options=wanted.options)
        try:
            self._records.put_volume(made)
        except WorkerError:
            # A commit whose answer was lost may have happened; then the file has an owner.
            if self._records.volume(volume.id) is None:
                files.remove_leftover(place)
            raise
        self._format(made)
        return volume

    def _format(self, record: PoolVolume) -> None:
        """After the record: what is on disk and is not blank has an owner, whatever happens."""
        if record.owned and record.volume.encrypted:
            self._content.write(record.volume.id, Path(record.path))

    def _take(self, wanted: NewVolume, path: str) -> Volume:
        found = examine.examine(path)
        self._refuse_second_owner(found.path)
        taken = _volume(wanted, found.size)
        self._records.put_volume(
            PoolVolume(volume=taken, path=found.path, owned=False, options=wanted.options)
        )
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
        """A file that stays, because nobody knows whose it is, keeps its key."""
        if is_uuid(volume):
            files.remove_leftover(self._place(volume))
            if not self._place(volume).exists():
                self._content.forget(volume)

    def _place(self, volume: VolumeId) -> Path:
        return self._folder / f"{volume}.raw"


def _check(wanted: NewVolume) -> None:
    """Raise RequestMalformed for a volume that cannot be meant."""
    if not is_uuid(wanted.id):
        raise RequestMalformed(f"volume id {wanted.id!r} is no UUID")
    if (wanted.size is None) == (wanted.path is None):
        raise RequestMalformed("a volume needs either a size or a file, and not both")
    try:
        check_treatment(Connection(protocol="local", properties=wanted.options))
    except ProtocolUnsupported as error:
        raise RequestMalformed(str(error)) from error


def _volume(wanted: NewVolume, size: int) -> Volume:
    return Volume(
        id=wanted.id,
        size=size,
        status=VolumeStatus.AVAILABLE,
        name=wanted.name,
        multiattach=wanted.multiattach,
        encrypted=wanted.encrypted,
        project_id=wanted.project_id,
    )


def _described(record: PoolVolume) -> tuple[object, ...]:
    volume = record.volume
    return (
        volume.name,
        volume.multiattach,
        volume.encrypted,
        volume.project_id,
        record.options,
    )
