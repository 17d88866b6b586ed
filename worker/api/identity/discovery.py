"""Which versions of the identity API there are."""

from worker.api.asked import Answer, Asked, Json
from worker.api.route import Route, Service
from worker.api.services import Services

PATH = "/identity/v3"


def versions(asked: Asked, _services: Services) -> Answer:
    """List the versions, as ``/`` of Keystone does."""
    return Answer(status=300, body={"versions": {"values": [_version(asked)]}})


def version(asked: Asked, _services: Services) -> Answer:
    """Say what the one version is, as ``/v3`` of Keystone does."""
    return Answer(body={"version": _version(asked)})


def _version(asked: Asked) -> Json:
    return {
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": f"{asked.base}{PATH}/"}],
        "media-types": [
            {
                "base": "application/json",
                "type": "application/vnd.openstack.identity-v3+json",
            }
        ],
    }


ROUTES = (
    Route(
        method="GET",
        path="/identity",
        act=versions,
        does="List the versions of the identity API",
        rule=None,
        service=Service.IDENTITY,
        answers={300: {}},
    ),
    Route(
        method="GET",
        path=PATH,
        act=version,
        does="Say what the version of the identity API is",
        rule=None,
        service=Service.IDENTITY,
        answers={200: {}},
    ),
)
