"""Lists a page at a time."""

from urllib.parse import quote, urlencode

from worker.api.asked import Asked, Json
from worker.api.services import Services


def one(asked: Asked, name: str) -> str | None:
    """Return what the query says, None where it says nothing."""
    said = asked.query.get(name)
    return said[0] if said else None


def limit_of(asked: Asked, services: Services) -> int:
    """Return how many items the answer lists; never more than the operator allows."""
    wanted = one(asked, "limit")
    most = services.limits.page
    return most if wanted is None else min(int(wanted), most)


def next_page(asked: Asked, path: str, last: str) -> list[Json]:
    """Return the links of a list that goes on after ``last``."""
    kept = {name: said[0] for name, said in asked.query.items() if name != "marker"}
    query = urlencode(kept | {"marker": last}, quote_via=quote)
    return [{"rel": "next", "href": f"{asked.base}{path}?{query}"}]
