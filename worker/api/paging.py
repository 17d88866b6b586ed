"""Lists a page at a time, as the query has it."""

from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import quote, urlencode

from worker.api.asked import Asked, Json, Refused
from worker.api.services import Services

Item = TypeVar("Item")


def one(asked: Asked, name: str) -> str | None:
    """Return what the query says, None where it says nothing."""
    said = asked.query.get(name)
    return said[0] if said else None


def last(asked: Asked, name: str) -> str | None:
    """Return what the query says last, which is what counts for Nova's older lists."""
    said = asked.query.get(name)
    return said[-1] if said else None


def limit_of(asked: Asked, services: Services) -> int:
    """Return how many items the answer lists; never more than the operator allows."""
    wanted = one(asked, "limit")
    most = services.limits.page
    return most if wanted is None else min(int(wanted), most)


def after(
    found: Sequence[Item], marker: str | None, id_of: Callable[[Item], str], unknown: str
) -> Sequence[Item]:
    """Return those behind the one that the marker names; raises Refused (400, ``unknown``)."""
    if marker is None:
        return found
    for place, each in enumerate(found, 1):
        if id_of(each) == marker:
            return found[place:]
    raise Refused(400, unknown)


def next_page(asked: Asked, path: str, marker: str) -> list[Json]:
    """Return the links of a list that goes on after the one that the marker names."""
    kept = {name: said[0] for name, said in asked.query.items() if name != "marker"}
    query = urlencode(kept | {"marker": marker}, quote_via=quote)
    return [{"rel": "next", "href": f"{asked.base}{path}?{query}"}]
