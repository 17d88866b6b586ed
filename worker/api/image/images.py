"""``/v2/images``: the images of the folder, listed and shown; where a file is, is never said."""

import logging
from collections.abc import Iterable
from urllib.parse import urlencode

from worker.api.asked import Answer, Asked, Json, Refused
from worker.api.faults import AWAY
from worker.api.image.shown import shown
from worker.api.paging import after, one
from worker.api.route import From, Route, Service
from worker.api.schemas import images as schemas
from worker.api.services import Services
from worker.errors import ImageNotFound, ImageRefused, ImagesUnavailable
from worker.model.ids import ImageId
from worker.ports import ImageListing

LOG = logging.getLogger(__name__)

PAGE = 25
"""How many Glance lists where nobody says how many."""

_PAGING = frozenset({"limit", "marker", "sort", "sort_key", "sort_dir"})

_AMONG = "in:"
"""What Glance's filters begin with when they list several."""


def listing_of(services: Services) -> ImageListing:
    """Return the listing; raises Refused (404) where the images are not a folder's."""
    if services.images is None:
        where = services.glance or "its own endpoint"
        raise Refused(404, f"images are not kept here: they are Glance's, at {where}; ask there")
    return services.images


def index(asked: Asked, services: Services) -> Answer:
    """List images, by name and id."""
    listing = listing_of(services)
    try:
        every = listing.images()
    except ImagesUnavailable as error:
        raise _away(error) from error
    marker = one(asked, "marker") or None
    unknown = f"marker {marker} is no image of this list; begin without one"
    rest = after([each for each in map(shown, every) if _fits(asked, each)], marker, _id, unknown)
    page = rest[: min(int(one(asked, "limit") or PAGE), services.limits.page)]
    body: Json = {"images": page, "first": "/v2/images", "schema": "/v2/schemas/images"}
    if page and len(rest) > len(page):
        query = {name: values[0] for name, values in asked.query.items()}
        body["next"] = f"/v2/images?{urlencode(query | {'marker': page[-1]['id']})}"
    return Answer(body=body)


def show(asked: Asked, services: Services) -> Answer:
    """Show one image."""
    wanted = asked.path["image_id"]
    try:
        return Answer(body=shown(listing_of(services).find(ImageId(wanted))))
    except (ImageNotFound, ImageRefused) as error:
        # Their own words name the file.
        LOG.info("image not shown: image=%s why=%s", wanted, error)
        raise Refused(404, f"No image found with ID {wanted}") from error
    except ImagesUnavailable as error:
        raise _away(error) from error


def _away(error: ImagesUnavailable) -> Refused:
    LOG.warning("images cannot be read: why=%s", error)
    message = "the folder of images cannot be read now; the API's log says why"
    return Refused(AWAY, message)


def _id(image: Json) -> str:
    return str(image["id"])


def _fits(asked: Asked, image: Json) -> bool:
    """Tell whether the filters let it pass; none that is hidden is listed unasked, as by Glance."""
    filters = {name: values for name, values in asked.query.items() if name not in _PAGING}
    wanted = {"os_hidden": ["false"]} | filters
    return all(_matches(image.get(name), values) for name, values in wanted.items())


def _matches(has: object, wanted: Iterable[str]) -> bool:
    if isinstance(has, bool):
        return all(each.lower() == str(has).lower() for each in wanted)
    return all(str(has) in _choices(each) for each in wanted)


def _choices(wanted: str) -> list[str]:
    if not wanted.startswith(_AMONG):
        return [wanted]
    return [each.strip('"') for each in wanted.removeprefix(_AMONG).split(",")]


ROUTES = (
    Route(
        method="GET",
        path="/v2/images",
        act=index,
        does="List images",
        rule="get_images",
        service=Service.IMAGE,
        query=(From(schema=schemas.QUERY),),
        answers={200: schemas.LISTED},
    ),
    Route(
        method="GET",
        path="/v2/images/{image_id}",
        act=show,
        does="Show an image",
        rule="get_image",
        service=Service.IMAGE,
        answers={200: schemas.ONE},
    ),
)
