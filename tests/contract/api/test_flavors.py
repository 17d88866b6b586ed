"""Flavors, as Nova's clients ask for them."""

import pytest

from tests.api_rig import ApiRig, Json
from worker.api.offers import BUILT_IN

FLAVORS = "/v2.1/flavors"


def listed(api: ApiRig, query: str = "", what: str = "/detail") -> list[Json]:
    answer = api.ask("GET", FLAVORS + what, query=query)
    assert answer.status == 200, answer.body
    found: list[Json] = answer.body["flavors"]
    return found


def test_flavors_are_listed_and_shown(api: ApiRig) -> None:
    assert [each["id"] for each in listed(api)] == [each.id for each in BUILT_IN]
    first = listed(api)[0]
    assert api.ask("GET", f"{FLAVORS}/{first['id']}").body["flavor"] == first
    assert (first["name"], first["vcpus"], first["ram"]) == ("m1.tiny", 1, 256)
    assert set(listed(api, what="")[0]) == {"id", "name", "links", "description"}


def test_fields_come_with_their_microversions(api: ApiRig) -> None:
    def fields(version: str) -> set[str]:
        return set(api.ask("GET", f"{FLAVORS}/1", version=version).body["flavor"])

    assert fields("2.55") - fields("2.54") == {"description"}
    assert fields("2.61") - fields("2.60") == {"extra_specs"}
    swap = [
        api.ask("GET", f"{FLAVORS}/1", version=each).body["flavor"]["swap"]
        for each in ("2.74", "2.75")
    ]
    assert swap == ["", 0]


def test_flavors_have_no_extra_specifications(api: ApiRig) -> None:
    assert api.ask("GET", f"{FLAVORS}/1/os-extra_specs").body == {"extra_specs": {}}


def test_an_unknown_flavor_is_not_found(api: ApiRig) -> None:
    for path in (f"{FLAVORS}/none", f"{FLAVORS}/none/os-extra_specs"):
        assert api.ask("GET", path).status == 404


def test_flavors_are_listed_by_pages(api: ApiRig) -> None:
    answer = api.ask("GET", FLAVORS, query="limit=3")
    assert [each["id"] for each in answer.body["flavors"]] == ["1", "2", "3"]
    (link,) = answer.body["flavors_links"]
    _, _, query = link["href"].partition("?")
    rest = api.ask("GET", FLAVORS, query=query)
    assert [each["id"] for each in rest.body["flavors"]] == ["4", "5"]
    assert "flavors_links" not in rest.body


def test_flavors_are_found_by_size(api: ApiRig) -> None:
    assert [each["id"] for each in listed(api, "minRam=2048")] == ["3", "4"]
    assert [each["id"] for each in listed(api, "minDisk=20&is_public=None")] == ["3", "4"]


@pytest.mark.parametrize("query", ["marker=none", "limit=x", "minRam=x", "sort_dir=desc", "a=b"])
def test_a_query_that_cannot_be_meant_is_refused(api: ApiRig, query: str) -> None:
    assert api.ask("GET", FLAVORS, query=query).status == 400
