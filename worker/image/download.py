"""One image's content, from its source into a file: all of it, and what was promised."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from worker.errors import ImageRefused
from worker.image.source import ImageSource
from worker.model.image import Image

_BLOCK = 1 << 16
_NOTHING = bytes(_BLOCK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """What came of an image; ``digest`` is its SHA-256, whatever the source has promised."""

    size: int
    digest: str


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, all of which is read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(source: ImageSource, known: Image, path: Path) -> Came:
    """Write the content into the file, holes kept.

    Raises ImageRefused unless size and checksum are as the source said, and what the source
    raises.
    """
    promised, found = _Digest(known), hashlib.sha256()
    size = 0
    with path.open("r+b") as file:
        for chunk in source.read(known.id):
            size += len(chunk)
            if known.size is not None and size > known.size:
                break
            promised.update(chunk)
            found.update(chunk)
            _write_sparse(file, chunk)
        file.truncate(size)
    if known.size is not None and size != known.size:
        raise ImageRefused(
            f"image {known.id}: {'more' if size > known.size else 'fewer'} bytes came than the"
            f" {known.size} that were promised"
        )
    promised.check()
    return Came(size=size, digest=found.hexdigest())


class _Digest:
    """The checksum of what came, if the source has named one."""

    def __init__(self, known: Image) -> None:
        self._known = known
        if known.checksum is None:
            return
        algorithm = known.checksum[0]
        try:
            self._found = hashlib.new(algorithm, usedforsecurity=False)
        except ValueError as error:
            raise ImageRefused(
                f"image {known.id}: its checksum is of an unknown kind, {algorithm!r}"
            ) from error

    def update(self, chunk: bytes) -> None:
        if self._known.checksum is not None:
            self._found.update(chunk)

    def check(self) -> None:
        if self._known.checksum is None:
            return
        algorithm, promised = self._known.checksum
        if self._found.hexdigest() != promised.lower():
            raise ImageRefused(f"image {self._known.id}: its {algorithm} is not {promised}")


def _write_sparse(file: BinaryIO, chunk: bytes) -> None:
    for start in range(0, len(chunk), _BLOCK):
        block = chunk[start : start + _BLOCK]
        if block == _NOTHING:
            file.seek(_BLOCK, 1)
        else:
            file.write(block)
