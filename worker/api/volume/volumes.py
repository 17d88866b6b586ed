"""``/v3/volumes``: the volumes of the built-in pool, listed and shown."""

from collections.abc import Callable
from urllib.parse import urlencode

from worker.api.asked import Answer, Asked, Json
from worker.api.paging import after, limit_of, one
from worker.api.route import From, Route, Service
from worker.api.schemas import volumes as schemas
from worker.api.services import Services
from worker.api.volume.pooled import pool_of, visible, volume_of
from worker.api.volume.shown import detail, summary
from worker.api.words import is_true
from worker.persistence.fleet.pool import Pooled


def index(asked: Asked, services: Services) -> Answer:
    """List volumes by name and id."""
    page, links = _page(asked, services, "/v3/volumes")
    return Answer(body={"volumes": [summary(asked, seen) for seen in page]} | links)


def index_in_detail(asked: Asked, services: Services) -> Answer:
    """List volumes with all that is said of them."""
    page, links = _page(asked, services, "/v3/volumes/detail")
    holders = pool_of(services).holders(seen.volume.id for seen in page)
    return Answer(body={"volumes": [detail(asked, seen, holders) for seen in page]} | links)


def show(asked: Asked, services: Services) -> Answer:
    """Show one volume."""
    seen = volume_of(asked, services)
    holders = pool_of(services).holders([seen.volume.id])
    return Answer(body={"volume": detail(asked, seen, holders)})


def _page(asked: Asked, services: Services, path: str) -> tuple[list[Pooled], Json]:
    """Return those of a page, and the link to the next one if there is any."""
    everyone = is_true(one(asked, "all_tenants"))
    found = visible(asked, pool_of(services).volumes(), everyone=everyone)
    marker = one(asked, "marker") or None
    unknown = f"marker {marker} is no volume of this list; begin without one"
    rest = after([seen for seen in found if _fits(asked, seen)], marker, _id, unknown)
    most = limit_of(asked, services)
    page = list(rest[:most])
    if not page or len(rest) == len(page):
        return page, {}
    query = {name: values[0] for name, values in asked.query.items()}
    more = urlencode(query | {"limit": most, "marker": page[-1].volume.id})
    link = {"rel": "next", "href": f"{asked.base}{path}?{more}"}
    return page, {"volumes_links": [link]}


def _id(seen: Pooled) -> str:
    return seen.volume.id


_FILTERS: dict[str, Callable[[Pooled], str | None]] = {
    "name": lambda seen: seen.volume.name,
    "status": lambda seen: seen.volume.status.value,
    "project_id": lambda seen: seen.volume.project_id,
}


def _fits(asked: Asked, seen: Pooled) -> bool:
    return all(
        asked.query[name] == [found(seen)]
        for name, found in _FILTERS.items()
        if name in asked.query
    )


ROUTES = (
    Route(
        method="GET",
        path="/v3/volumes",
        act=index,
        does="List volumes",
        rule="volume:get_all",
        service=Service.VOLUME,
        query=(From(schema=schemas.QUERY),),
        answers={200: schemas.LISTED},
    ),
    Route(
        method="GET",
        path="/v3/volumes/detail",
        act=index_in_detail,
        does="List volumes with all that is said of them",
        rule="volume:get_all",
        service=Service.VOLUME,
        query=(From(schema=schemas.QUERY),),
        answers={200: schemas.LISTED},
    ),
    Route(
        method="GET",
        path="/v3/volumes/{volume_id}",
        act=show,
        does="Show a volume",
        rule="volume:get",
        service=Service.VOLUME,
        answers={200: schemas.ONE},
    ),
)
