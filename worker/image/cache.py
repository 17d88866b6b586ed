"""This host's copies of images: fetched once, looked into, and whole or not there.

In the folder lie ``<id>``, the content; ``.<id>.json``, what was found in it; ``locks/<id>``, held
by who fetches it; and ``workers/<name>``, one for each that has the folder. The content comes last,
at once. It stays as it is: disks are made over it.
"""

import json
import os
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import quote

from worker.errors import ImageRefused, ImagesUnavailable, NoRoom
from worker.image.download import digest_of, download
from worker.image.files import PRIVATE_FILE, appearing, check_room, filesystem, make_folder
from worker.image.inspection import Content, check_whole, inspect
from worker.image.locks import held
from worker.image.source import ImageSource, check_id
from worker.model.ids import ImageId
from worker.model.image import Image, ImageFile
from worker.model.source import DiskFormat
from worker.ports import Images

_HOUR = 3600.0
_WORKERS = "workers"


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """``reserve`` is in bytes; ``keep``, for copies that nobody needs, in hours.

    ``owner`` is the worker's name among those who have the folder, too.
    """

    folder: Path
    owner: str = "worker"
    reserve: int = 0
    keep: float = 24.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What was found of a copy when it was fetched; an older release took no digest."""

    declared: str
    version: str
    size: int
    format: str
    virtual_size: int
    digest: str = ""


class CachedImages(Images):
    """Images of a source, and this host's copies of them.

    ``needed`` tells of which copies disks and instances are made; these are never removed.
    """

    def __init__(
        self,
        source: ImageSource,
        settings: CacheSettings,
        needed: Callable[[], Collection[ImageId]],
    ) -> None:
        self._source = source
        self._settings = settings
        self._needed = needed

    def show(self, image: ImageId) -> Image:
        """Return what the source knows of the image."""
        return self._source.show(image)

    def fetch(self, image: ImageId) -> ImageFile:
        """Return this host's copy; one that is there serves while the source is away."""
        check_id(image)
        path = self._settings.folder / image
        with filesystem(path), held(self._lock_of(image)):
            self._sign()
            note = self._present_or_fetched(path)
            return _file(path, note)

    def copy(self, image: ImageId) -> ImageFile | None:
        """Return this host's copy if there is a good one, and ask nobody; else None."""
        check_id(image)
        path = self._settings.folder / image
        with filesystem(path):
            if not path.exists():
                return None
            with held(self._lock_of(image)):
                self._sign()
                note = _read_note(path)
                return None if note is None or not _is_good(path, note) else _file(path, note)

    def evict(self, *, until: Callable[[], bool] = lambda: False) -> None:
        """Remove copies that nobody needs, the longest unused first, until that is enough.

        None is removed from a folder that other workers have, too: what they need is not known.
        """
        if self._is_shared():
            return
        needed = self._needed()
        for path in sorted(_copies(self._settings.folder), key=_last_asked):
            if until():
                return
            with held(self._lock_of(ImageId(path.name)), wait=False) as mine:
                if mine and self._may_go(path, needed):
                    path.unlink(missing_ok=True)
                    _note_path(path).unlink(missing_ok=True)

    def _present_or_fetched(self, path: Path) -> Note:
        note = _read_note(path)
        try:
            known = self._source.show(ImageId(path.name))
            version = self._source.version(known)
        except ImagesUnavailable:
            if note is not None and _is_good(path, note):
                return note
            raise
        if note is not None and note.version != version:
            self._check_unused(path)
        elif note is not None and _is_good(path, note):
            return note
        return self._fetch(path, known, version)

    def _check_unused(self, path: Path) -> None:
        # Disks made over the old content would be garbage over the new.
        if path.exists() and not self._may_go(path, self._needed()):
            raise ImageRefused(
                f"image {path.name} is not what it was when it was fetched, and is in use:"
                " give the new content an id of its own"
            )

    def _may_go(self, path: Path, needed: Collection[ImageId]) -> bool:
        # One that was asked for a moment ago may be about to be used.
        age = time.time() - _last_asked(path)
        return age > self._settings.keep * _HOUR and path.name not in needed

    def _fetch(self, path: Path, known: Image, version: str) -> Note:
        self._make_room(known.size or 0)
        with appearing(path) as temporary:
            came = download(self._source, known, temporary)
            content = _look_into(temporary, known)
            note = Note(
                declared=known.format,
                version=version,
                size=came.size,
                format=content.format.value,
                virtual_size=content.virtual_size,
                digest=came.digest,
            )
            _write_note(path, note)
        return note

    def _make_room(self, size: int) -> None:
        if not self._has_room(size):
            self.evict(until=lambda: self._has_room(size))
            check_room(self._settings.folder, size, self._settings.reserve)

    def _has_room(self, size: int) -> bool:
        try:
            check_room(self._settings.folder, size, self._settings.reserve)
        except NoRoom:
            return False
        return True

    def _sign(self) -> None:
        """Let the others know that this worker's disks may be made over what is here."""
        mark = self._settings.folder / _WORKERS / quote(self._settings.owner, safe="")
        make_folder(mark.parent)
        mark.touch(PRIVATE_FILE)

    def _is_shared(self) -> bool:
        return len(list((self._settings.folder / _WORKERS).iterdir())) > 1

    def _lock_of(self, image: ImageId) -> Path:
        return self._settings.folder / "locks" / image


def _look_into(path: Path, known: Image) -> Content:
    try:
        content = inspect(path, known.format)
        check_whole(path, content)
    except ImageRefused as error:
        raise ImageRefused(f"image {known.id}: {error}") from error
    return content


def _file(path: Path, note: Note) -> ImageFile:
    """Return what is known of the copy, whose lock is held; it counts as asked for."""
    # By this, and by nothing else, a copy is known to have been asked for lately.
    os.utime(path)
    if not note.digest:
        note = replace(note, digest=digest_of(path))
        _write_note(path, note)
    return ImageFile(
        id=ImageId(path.name),
        path=str(path),
        format=DiskFormat(note.format),
        virtual_size=note.virtual_size,
        digest=note.digest,
    )


def _write_note(path: Path, note: Note) -> None:
    with appearing(_note_path(path)) as beside:
        beside.write_text(json.dumps(asdict(note)))


def _note_path(path: Path) -> Path:
    # No image has such a name: ids begin with a letter or digit.
    return path.with_name(f".{path.name}.json")


def _read_note(path: Path) -> Note | None:
    try:
        return Note(**json.loads(_note_path(path).read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _is_good(path: Path, note: Note) -> bool:
    """Tell, without reading all of it, whether the copy is what it was."""
    try:
        if path.stat().st_size != note.size:
            return False
        found = inspect(path, note.declared)
    except (FileNotFoundError, ImageRefused):
        return False
    return (found.format.value, found.virtual_size) == (note.format, note.virtual_size)


def _copies(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")


def _last_asked(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
