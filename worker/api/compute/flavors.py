"""Flavors: what is offered, and nothing to be changed."""

from urllib.parse import urlencode

from worker.api.asked import Answer, Asked, Json, Refused
from worker.api.compute.server_view import links
from worker.api.offers import Flavor
from worker.api.route import From, Route
from worker.api.schemas import flavors as schemas
from worker.api.services import Services


def index(asked: Asked, services: Services) -> Answer:
    """List flavors, by id and name."""
    found, more = _page(asked, services)
    return Answer(body={"flavors": [_brief(each, asked) for each in found]} | more)


def detail(asked: Asked, services: Services) -> Answer:
    """List flavors with their sizes."""
    found, more = _page(asked, services, "/detail")
    return Answer(body={"flavors": [_detailed(each, asked) for each in found]} | more)


def show(asked: Asked, services: Services) -> Answer:
    """Show a flavor."""
    return Answer(body={"flavor": _detailed(_flavor_of(asked, services), asked)})


def extra_specs(asked: Asked, services: Services) -> Answer:
    """List what else a flavor says: nothing."""
    _flavor_of(asked, services)
    return Answer(body={"extra_specs": {}})


def _flavor_of(asked: Asked, services: Services) -> Flavor:
    wanted = asked.path["flavor_id"]
    found = services.offers.flavor(wanted)
    if found is None:
        raise Refused(404, f"Flavor {wanted} could not be found.")
    return found


def _page(asked: Asked, services: Services, path: str = "") -> tuple[list[Flavor], Json]:
    query = asked.query
    least_disk = int(query.get("minDisk", ["0"])[-1])
    least_ram = int(query.get("minRam", ["0"])[-1])
    found = [
        each
        for each in services.offers.flavors
        if each.root_gb >= least_disk and each.memory_mb >= least_ram
    ]
    found = _after(query.get("marker", [None])[-1], found)
    limit = min(int(query.get("limit", [services.limits.page])[-1]), services.limits.page)
    if len(found) <= limit or not limit:
        return found[:limit], {}
    marker = {"marker": [found[limit - 1].id]}
    follow = f"{asked.base}/v2.1/flavors{path}?{urlencode(dict(query) | marker, doseq=True)}"
    return found[:limit], {"flavors_links": [{"rel": "next", "href": follow}]}


def _after(marker: str | None, flavors: list[Flavor]) -> list[Flavor]:
    if marker is None:
        return flavors
    places = [place for place, each in enumerate(flavors, 1) if each.id == marker]
    if not places:
        raise Refused(400, f"marker [{marker}] not found")
    return flavors[places[0] :]


def _brief(flavor: Flavor, asked: Asked) -> Json:
    shown = {"id": flavor.id, "name": flavor.name, "links": links(asked, "flavors", flavor.id)}
    return shown | ({"description": flavor.description} if asked.at_least(55) else {})


def _detailed(flavor: Flavor, asked: Asked) -> Json:
    shown = _brief(flavor, asked) | {
        "vcpus": flavor.vcpus,
        "ram": flavor.memory_mb,
        "disk": flavor.root_gb,
        "OS-FLV-EXT-DATA:ephemeral": flavor.ephemeral,
        "swap": flavor.swap or (0 if asked.at_least(75) else ""),
        "OS-FLV-DISABLED:disabled": False,
        "os-flavor-access:is_public": True,
        "rxtx_factor": 1.0,
    }
    return shown | ({"extra_specs": {}} if asked.at_least(61) else {})


_RULE = "os_compute_api:flavors"
_ALL = "/v2.1/flavors"
_QUERY = (From(schema=schemas.QUERY, minor=1), From(schema=schemas.QUERY_275, minor=75))

ROUTES = (
    Route(
        method="GET",
        path=_ALL,
        act=index,
        does="List flavors",
        rule=_RULE,
        query=_QUERY,
        answers={200: schemas.LISTED},
    ),
    Route(
        method="GET",
        path=_ALL + "/detail",
        act=detail,
        does="List flavors with details",
        rule=_RULE,
        query=_QUERY,
        answers={200: schemas.LISTED},
    ),
    Route(
        method="GET",
        path=_ALL + "/{flavor_id}",
        act=show,
        does="Show a flavor",
        rule=_RULE,
        answers={200: schemas.ONE},
    ),
    Route(
        method="GET",
        path=_ALL + "/{flavor_id}/os-extra_specs",
        act=extra_specs,
        does="List the extra specifications of a flavor",
        rule="os_compute_api:os-flavor-extra-specs:index",
        answers={200: schemas.EXTRA},
    ),
)
