"""Which version of the block storage API there is."""

from worker.api.asked import Answer, Asked, Json
from worker.api.microversions import RANGES
from worker.api.route import Route, Service
from worker.api.services import Services
from worker.api.volume.pooled import pool_of


def version(asked: Asked, services: Services) -> Answer:
    """Say what the one version is, as ``/v3`` of Cinder does."""
    pool_of(services)
    oldest, newest = RANGES[Service.VOLUME]
    shown: Json = {
        "id": "v3.0",
        "status": "CURRENT",
        "version": str(newest),
        "min_version": str(oldest),
        "updated": "2023-08-31T00:00:00Z",
        "links": [{"rel": "self", "href": f"{asked.base}/v3/"}],
        "media-types": [
            {
                "base": "application/json",
                "type": "application/vnd.openstack.volume+json;version=3",
            }
        ],
    }
    return Answer(body={"versions": [shown]})


ROUTES = (
    Route(
        method="GET",
        path="/v3",
        act=version,
        does="Say what the version is",
        rule=None,
        service=Service.VOLUME,
        answers={200: {}},
    ),
)
