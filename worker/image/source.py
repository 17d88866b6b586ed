"""Where images come from: what each of them must be able to tell."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

from worker.errors import ImageNotFound
from worker.image.files import is_plain
from worker.model.ids import ImageId
from worker.model.image import Image


class ImageSource(ABC):
    """A service that has images; this host's copies are the cache's business."""

    @abstractmethod
    def show(self, image: ImageId) -> Image:
        """Return what is known of the image; raises ImageNotFound, ImagesUnavailable.

        Raises ImageRefused when what is said of it makes no sense.
        """

    @abstractmethod
    def version(self, image: Image) -> str:
        """Return a mark that changes when the content does, found without reading it."""

    @abstractmethod
    def read(self, image: ImageId) -> Iterator[bytes]:
        """Yield the content; raises ImageNotFound, ImagesUnavailable, ImageRefused."""


def check_id(image: ImageId) -> None:
    """Raise ImageNotFound for what can be no image's id, a path for instance."""
    if not is_plain(image):
        raise ImageNotFound(f"no image {image!r}: that is no image's id")
