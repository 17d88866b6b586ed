"""Flavors: what is offered, and nothing to be changed."""

from collections.abc import Sequence
from urllib.parse import urlencode

from worker.api.asked import Answer, Asked, Json, Refused
from worker.api.compute.server_view import links
from worker.api.offers import Flavor
from worker.api.paging import after, last
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


def _page(asked: Asked, services: Services, path: str = "") -> tuple[Sequence[Flavor], Json]:
    least_disk = int(last(asked, "minDisk") or 0)
    least_ram = int(last(asked, "minRam") or 0)
    large = [
        each
        for each in services.offers.flavors
        if each.root_gb >= least_disk and each.memory_mb >= least_ram
    ]
    marker = last(asked, "marker")
    rest = after(large, marker, _id, f"marker [{marker}] not found")
    limit = min(int(last(asked, "limit") or services.limits.page), services.limits.page)
    page = rest[:limit]
    if not page or len(rest) == len(page):
        return page, {}
    query = urlencode(dict(asked.query) | {"marker": [page[-1].id]}, doseq=True)
    follow = f"{asked.base}/v2.1/flavors{path}?{query}"
    return page, {"flavors_links": [{"rel": "next", "href": follow}]}


def _id(flavor: Flavor) -> str:
    return flavor.id


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
