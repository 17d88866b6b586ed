"""Which version of the image API there is."""

from worker.api.asked import Answer, Asked
from worker.api.image.images import listing_of
from worker.api.route import Route, Service
from worker.api.services import Services

VERSION = "v2.16"
"""The newest of Glance's versions of which everything that is here is known."""


def versions(asked: Asked, services: Services) -> Answer:
    """Say what the one version is, as ``/versions`` of Glance does."""
    listing_of(services)
    links = [{"rel": "self", "href": f"{asked.base}/v2/"}]
    return Answer(body={"versions": [{"id": VERSION, "status": "CURRENT", "links": links}]})


ROUTES = tuple(
    Route(
        method="GET",
        path=path,
        act=versions,
        does="Say what the version is",
        rule=None,
        service=Service.IMAGE,
        answers={200: {}},
    )
    for path in ("/v2", "/versions")
)
