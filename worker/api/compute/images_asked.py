"""Images that a server is to boot from, as far as the caller may have them."""

import logging
from collections.abc import Iterable

from worker.api.asked import Asked, Refused
from worker.api.services import Services
from worker.errors import ImageNotFound, ImageRefused
from worker.model.ids import ImageId
from worker.model.image import Image

LOG = logging.getLogger(__name__)

_BOOTED_WITH = ("kernel_id", "ramdisk_id")


def check_images(images: Iterable[str], asked: Asked, services: Services) -> None:
    """Raise Refused (400) unless each is there, and what it boots with; ImagesUnavailable.

    The worker asks Glance by an account of its own: what Glance keeps from the caller's project is
    not there. What an administrator asks for is left to the worker.
    """
    for image in images:
        found = _found(image, asked, services)
        properties = {} if found is None else found.properties
        for name in _BOOTED_WITH:
            if properties.get(name):
                _found(properties[name], asked, services)


def _found(image: str, asked: Asked, services: Services) -> Image | None:
    try:
        if services.images is not None:
            return services.images.find(ImageId(image))
        if services.project_images is None or asked.who.is_admin:
            return None
        return services.project_images.find(ImageId(image), asked.who.project_id)
    except (ImageNotFound, ImageRefused) as error:
        # Their own words may name a file of the host.
        LOG.info("image not given: image=%s why=%s", image, error)
        message = f"Can not find requested image {image}; ask for the list of images"
        raise Refused(400, message) from error
