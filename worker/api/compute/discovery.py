"""Which versions of the compute API there are."""

from worker.api.asked import Answer, Asked, Json
from worker.api.microversions import RANGES
from worker.api.route import Route, Service
from worker.api.services import Services


def versions(asked: Asked, _services: Services) -> Answer:
    """List the versions, as ``/`` of Nova does."""
    return Answer(body={"versions": [_version(asked)]})


def version(asked: Asked, _services: Services) -> Answer:
    """Say what the one version is, as ``/v2.1`` of Nova does."""
    media = {
        "base": "application/json",
        "type": "application/vnd.openstack.compute+json;version=2.1",
    }
    return Answer(body={"version": _version(asked) | {"media-types": [media]}})


def _version(asked: Asked) -> Json:
    oldest, newest = RANGES[Service.COMPUTE]
    return {
        "id": "v2.1",
        "status": "CURRENT",
        "version": str(newest),
        "min_version": str(oldest),
        "updated": "2013-07-23T11:33:21Z",
        "links": [{"rel": "self", "href": f"{asked.base}/v2.1/"}],
    }


ROUTES = (
    Route(
        method="GET", path="/", act=versions, does="List the versions", rule=None, answers={200: {}}
    ),
    Route(
        method="GET",
        path="/v2.1",
        act=version,
        does="Say what the version is",
        rule=None,
        answers={200: {}},
    ),
)
