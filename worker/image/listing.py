"""Which images a folder has, for whoever chooses one."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from worker.errors import ImageNotFound, ImageRefused, ImagesUnavailable
from worker.image.files import is_plain
from worker.image.folder import FolderImages
from worker.model.ids import ImageId
from worker.model.image import Image
from worker.ports import ImageListing

LOG = logging.getLogger(__name__)

SIDECAR = ".json"


class FolderListing(ImageListing):
    """The images of a folder; one of which something is wrong is logged and left out."""

    def __init__(self, folder: Path) -> None:
        """Look into that folder, each time anew."""
        self._folder = folder
        self._images = FolderImages(folder)

    def find(self, image: ImageId) -> Image:
        """Return the image; raises ImageNotFound, ImageRefused, ImagesUnavailable."""
        return self._images.show(image)

    def images(self) -> tuple[Image, ...]:
        """Return every image that can be used, by name and id; raises ImagesUnavailable."""
        found = sorted(self._readable(), key=lambda image: (image.name, image.id))
        return tuple(found)

    def _readable(self) -> Iterator[Image]:
        for name in self._sidecars():
            # One that was taken away since is no image any more.
            with suppress(ImageNotFound):
                try:
                    yield self._images.show(ImageId(name))
                except (ImageRefused, ImagesUnavailable) as error:
                    LOG.warning("image left out: image=%s why=%s", name, error)

    def _sidecars(self) -> list[str]:
        try:
            names = [place.name for place in self._folder.iterdir()]
        except FileNotFoundError as error:
            message = f"{self._folder}, the folder of images, is not there"
            raise ImagesUnavailable(message) from error
        except OSError as error:
            message = f"{self._folder}, the folder of images, cannot be read: {error.strerror}"
            raise ImagesUnavailable(message) from error
        ids = (name.removesuffix(SIDECAR) for name in names if name.endswith(SIDECAR))
        return [name for name in ids if is_plain(name)]
