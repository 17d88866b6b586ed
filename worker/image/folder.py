"""A folder of images."""

from worker.errors import ImagesUnavailable
from worker.model.ids import ImageId
from worker.model.image import Image, ImageFile
from worker.ports import Images


class FolderImages(Images):
    """Images of a folder of this host."""

    def show(self, image: ImageId) -> Image:
        """Return what is known of the image; raises ImageNotFound, ImagesUnavailable."""
        raise ImagesUnavailable(f"image {image}: images are not read yet")

    def fetch(self, image: ImageId) -> ImageFile:
        """Return this host's copy of the image, its content inspected."""
        raise ImagesUnavailable(f"image {image}: images are not read yet")
