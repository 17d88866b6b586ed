"""A folder of images: ``<id>``, the content, and beside it ``<id>.json``, what is said of it.

::

    {
        "name": "Debian 12",
        "disk_format": "qcow2",
        "min_disk": 2,
        "min_ram": 512,
        "os_hash_algo": "sha256",
        "os_hash_value": "9f86...",
        "properties": {"hw_disk_bus": "scsi"},
    }

The words are Glance's; only ``disk_format`` must be there. Whoever may write into the folder may
not thereby read the host: links are not followed.
"""

import errno
import json
import os
import stat
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from worker.errors import ImageNotFound, ImageRefused, ImagesUnavailable
from worker.image.source import ImageSource, check_id
from worker.model.ids import ImageId
from worker.model.image import Image

CHUNK = 1 << 20
MAX_SIDECAR = 1 << 20

_KINDS: Mapping[str, type] = {
    "name": str,
    "disk_format": str,
    "min_disk": int,
    "min_ram": int,
    "os_hash_algo": str,
    "os_hash_value": str,
    "properties": dict,
}


class FolderImages(ImageSource):
    """Images of a folder of this host, which operators fill."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def show(self, image: ImageId) -> Image:
        """Return what the sidecar says, and the content's size."""
        said = self._said(image)
        with self._open(image) as file:
            found = os.fstat(file.fileno())
        return _image(image, said, found)

    def version(self, image: Image) -> str:
        """Return size and time of change."""
        with self._open(image.id) as file:
            found = os.fstat(file.fileno())
        return f"{found.st_size}-{found.st_mtime_ns}"

    def read(self, image: ImageId) -> Iterator[bytes]:
        """Yield the content."""
        with self._open(image) as file:
            try:
                while chunk := file.read(CHUNK):
                    yield chunk
            except OSError as error:
                raise self._trouble(image, str(image), error) from error

    def _said(self, image: ImageId) -> Mapping[str, Any]:
        with self._open(image, ".json") as file:
            text = file.read(MAX_SIDECAR)
        try:
            said = json.loads(text)
        except ValueError as error:
            raise ImageRefused(f"image {image}: {image}.json is no JSON: {error}") from error
        wrong = _wrong(said)
        if wrong:
            raise ImageRefused(f"image {image}: {image}.json: {wrong}")
        found: Mapping[str, Any] = said
        return found

    def _open(self, image: ImageId, ending: str = "") -> BinaryIO:
        check_id(image)
        name = f"{image}{ending}"
        # Not to wait, should it be a pipe.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(self._folder / name, flags)
        except OSError as error:
            raise self._trouble(image, name, error) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ImageRefused(f"image {image}: {self._folder / name} is no regular file")
        return os.fdopen(descriptor, "rb")

    def _trouble(
        self, image: ImageId, name: str, error: OSError
    ) -> ImageNotFound | ImageRefused | ImagesUnavailable:
        path = self._folder / name
        if not self._folder.is_dir():
            return ImagesUnavailable(f"{self._folder}, the folder of images, is not there")
        if error.errno == errno.ENOENT:
            return ImageNotFound(f"no image {image}: {path} is not there")
        if error.errno == errno.ELOOP:
            return ImageRefused(f"image {image}: {path} is a link, and links are not followed")
        return ImagesUnavailable(f"{path} cannot be read: {error.strerror}")


def _wrong(said: object) -> str | None:
    if not isinstance(said, dict):
        return "it must be an object"
    unknown = ", ".join(sorted(set(said) - set(_KINDS)))
    if unknown:
        return f"unknown: {unknown}"
    for key, kind in _KINDS.items():
        if key in said and type(said[key]) is not kind:
            return f"{key} must be of type {kind.__name__}"
    if "disk_format" not in said:
        return "disk_format is missing"
    if ("os_hash_algo" in said) != ("os_hash_value" in said):
        return "os_hash_algo and os_hash_value go together"
    return None


def _image(image: ImageId, said: Mapping[str, Any], found: os.stat_result) -> Image:
    algorithm = said.get("os_hash_algo")
    return Image(
        id=image,
        name=said.get("name", image),
        format=said["disk_format"],
        size=found.st_size,
        changed_at=datetime.fromtimestamp(found.st_mtime, UTC),
        min_disk=said.get("min_disk", 0),
        min_memory=said.get("min_ram", 0),
        checksum=None if algorithm is None else (algorithm, said["os_hash_value"]),
        properties={key: str(value) for key, value in said.get("properties", {}).items()},
    )
