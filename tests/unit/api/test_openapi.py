"""The OpenAPI document is the table of requests, whole and nothing else."""

import json
import re
from typing import Any, cast

import pytest
from falcon.testing import simulate_request
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from worker.api.application import Application, Front
from worker.api.asked import Answer, Asked, Version
from worker.api.front.open_door import OpenDoor
from worker.api.microversions import RANGES
from worker.api.openapi import NEWEST, described, document
from worker.api.route import From, Route, Service
from worker.api.routes import ROUTES
from worker.api.services import Services
from worker.cmd.main import main

OLDEST = {service: oldest for service, (oldest, _) in RANGES.items()}


def made(*routes: Route, minor: int = 101) -> Any:  # noqa: ANN401 - JSON
    return document(routes, {Service.COMPUTE: Version(2, minor)})


def nothing(_asked: Asked, _services: Services) -> Answer:
    return Answer()


def route(**more: Any) -> Route:  # noqa: ANN401
    some = {"method": "GET", "path": "/v2.1/a", "act": nothing, "does": "Do nothing", "rule": "r"}
    return Route(**{**some, **more})


@pytest.mark.parametrize("versions", [NEWEST, OLDEST], ids=["newest", "oldest"])
def test_it_is_valid(versions: dict[Service, Version]) -> None:
    validate(json.loads(json.dumps(document(ROUTES, versions))), cls=OpenAPIV31SpecValidator)


def test_every_request_is_in_it_and_nothing_else() -> None:
    in_it = {
        (path, method.upper())
        for path, methods in document(ROUTES)["paths"].items()
        for method in methods
    }
    assert in_it == {(route.path, route.method) for route in ROUTES}


def test_the_router_takes_exactly_those() -> None:
    application = Application(ROUTES, cast("Services", None), Front(door=OpenDoor()))
    for path, methods in document(ROUTES)["paths"].items():
        asked = re.sub(r"{\w+}", "one", path)
        allowed = simulate_request(application, "OPTIONS", asked).headers["Allow"]
        assert set(allowed.split(", ")) == {method.upper() for method in methods}, path


def test_it_is_the_same_each_time() -> None:
    assert json.dumps(document(ROUTES)) == json.dumps(document(ROUTES))


def test_each_operation_has_a_name_of_its_own() -> None:
    methods = [each for some in document(ROUTES)["paths"].values() for each in some.values()]
    names = [each["operationId"] for each in methods]
    assert len(names) == len(set(names))


def test_each_word_of_a_path_is_a_parameter() -> None:
    for path, methods in document(ROUTES)["paths"].items():
        for method in methods.values():
            named = [each["name"] for each in method["parameters"] if each.get("in") == "path"]
            assert named == re.findall(r"{(\w+)}", path)


def test_the_body_is_that_of_the_microversion_and_the_others_stand_beside_it() -> None:
    old, new = {"title": "old"}, {"title": "new"}
    bodies = (From(schema=old, minor=1), From(schema=new, minor=49))
    posted = route(method="POST", body=bodies)

    def media(minor: int) -> Any:  # noqa: ANN401 - JSON
        (found,) = made(posted, minor=minor)["paths"]["/v2.1/a"]["post"]["requestBody"][
            "content"
        ].values()
        return found

    assert media(48)["schema"] == old
    assert media(49)["schema"] == new
    assert [each["x-openstack"] for each in media(49)["x-openstack-schemas"]] == [
        {"min-ver": "2.1", "max-ver": "2.48"},
        {"min-ver": "2.49"},
    ]


def test_a_request_that_a_microversion_has_not_is_marked() -> None:
    until = made(route(until=50))["paths"]["/v2.1/a"]["get"]
    assert until["deprecated"]
    assert until["x-openstack"] == {"min-ver": "2.0", "max-ver": "2.50"}
    assert "404" in until["responses"]


def test_of_two_at_one_path_that_of_the_microversion_is_shown() -> None:
    both = (route(until=50, does="Old"), route(since=51, does="New"))
    assert made(*both, minor=50)["paths"]["/v2.1/a"]["get"]["summary"] == "Old"
    assert made(*both, minor=51)["paths"]["/v2.1/a"]["get"]["summary"] == "New"


def test_a_query_is_parameters_that_may_be_repeated() -> None:
    limit = {"type": "array", "items": {"type": "string"}, "maxItems": 1}
    schema = {"type": "object", "properties": {"limit": limit}, "required": ["limit"]}
    (first, *_) = made(route(query=(From(schema=schema),)))["paths"]["/v2.1/a"]["get"]["parameters"]
    assert (first["name"], first["in"], first["required"]) == ("limit", "query", True)
    assert first["schema"] == limit


def test_what_anybody_may_ask_needs_no_token() -> None:
    paths = made(route(), route(path="/v2.1/b", rule=None))["paths"]
    assert paths["/v2.1/a"]["get"]["security"] == [{"token": []}]
    assert paths["/v2.1/b"]["get"]["security"] == []
    assert "401" not in paths["/v2.1/b"]["get"]["responses"]


def test_a_status_that_answers_name_is_theirs() -> None:
    shown = made(route(answers={200: None, 400: {"title": "own"}}))
    bad = shown["paths"]["/v2.1/a"]["get"]["responses"]["400"]
    assert bad["content"]["application/json"]["schema"] == {"title": "own"}


def test_it_describes_itself() -> None:
    assert described(()).path in document([described(())])["paths"]


def test_the_command_prints_what_is_served(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["api", "openapi"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(document(ROUTES)))
