"""What stands before the functions: the way of a request through the application."""

import io
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from falcon.testing import Result, simulate_request

from worker.api.application import Application, Front
from worker.api.asked import Answer, Asked, Refused, Who
from worker.api.route import From, Route, Service
from worker.api.services import Services
from worker.errors import BrokerUnavailable, VolumeInUse, WorkerError

SOMEBODY = Who(user_id="u", project_id="p", roles=frozenset({"member"}))

ONE_WORD = {"type": "array", "items": {"type": "string", "pattern": "^[a-z]+$"}, "maxItems": 1}
QUERY = {"type": "object", "properties": {"word": ONE_WORD}, "additionalProperties": False}


class Door:
    """Lets in whoever has the token."""

    def identify(self, environ: Mapping[str, Any]) -> Who:
        if environ.get("HTTP_X_AUTH_TOKEN") != "token":
            raise Refused(401, "say who you are, with X-Auth-Token")
        return SOMEBODY


@dataclass
class Site:
    """An application with a table of its own."""

    told: list[tuple[str, str, int]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def echo(self, asked: Asked, _services: Services) -> Answer:
        self.asked.append(asked)
        return Answer(body={"path": dict(asked.path), "query": dict(asked.query)})

    def fail(self, asked: Asked, _services: Services) -> Answer:
        errors: dict[str, Exception] = {
            "crash": KeyError("secret"),
            "away": BrokerUnavailable("the broker does not answer"),
            "ours": WorkerError("secret\nsecond line"),
            "busy": Refused(503, "too many streams"),
            "used": VolumeInUse("volume is in use"),
        }
        raise errors[asked.path["how"]]

    @property
    def routes(self) -> list[Route]:
        some: Any = {"method": "GET", "act": self.echo, "does": "Echo", "rule": "r"}
        return [
            Route(**some, path="/v2.1/servers/{server_id}", query=(From(schema=QUERY, minor=75),)),
            Route(**some, path="/v2.1/servers"),
            Route(**some, path="/v2.1/os-things", since=60),
            Route(**some, path="/v3/volumes", service=Service.VOLUME),
            Route(**some, path="/v2/images/{image_id}", service=Service.IMAGE),
            Route(**{**some, "act": self.fail}, path="/v2.1/fail/{how}"),
            Route(**{**some, "method": "POST"}, path="/v2.1/servers", body=(From(schema={}),)),
            Route(**{**some, "rule": None}, path="/v2.1"),
        ]

    def ask(self, path: str, method: str = "GET", **more: Any) -> Result:  # noqa: ANN401
        policy = SimpleNamespace(check=lambda *_: None, allows=lambda *_: False)
        services = cast("Services", SimpleNamespace(policy=policy))
        front = Front(door=Door(), meter=self.meter)
        headers = {"X-Auth-Token": "token", **more.pop("headers", {})}
        application = Application(self.routes, services, front)
        return simulate_request(application, method, path, headers=headers, **more)

    def meter(self, method: str, path: str, status: int, _seconds: float) -> None:
        self.told.append((method, path, status))


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.mark.parametrize(
    ("path", "stricken"),
    [
        ("/v2.1/p/servers", "/v2.1/servers"),
        ("/v2.1/p/servers/x", "/v2.1/servers/x"),
        ("/v2.1/p/servers/", "/v2.1/servers"),
        ("/v3/p/volumes", "/v3/volumes"),
        ("//v2.1/p/servers", "/v2.1/servers"),
        ("//v2.1/servers", "/v2.1/servers"),
    ],
)
def test_the_callers_project_is_struck_off(site: Site, path: str, stricken: str) -> None:
    found = site.ask(path)
    assert found.status_code == 200
    assert site.told == [("GET", stricken.replace("/x", "/{server_id}"), 200)]


@pytest.mark.parametrize(
    "path",
    [
        "/v2.1/p/nothing",
        "/v2.1/p/p/servers",
        "/v2.1//servers",
        "/v2.1/p%20q/servers",
        "/v2/p/images/x",
    ],
)
def test_nothing_else_is_struck_off(site: Site, path: str) -> None:
    assert site.ask(path).status_code == 404


def test_a_server_named_as_a_path_is_no_project(site: Site) -> None:
    found = site.ask("/v2.1/servers/servers")
    assert found.json["path"] == {"server_id": "servers"}


@pytest.mark.parametrize("project", ["other", "v2", "2.1"])
def test_anothers_project_is_refused(site: Site, project: str) -> None:
    refused = site.ask(f"/v2.1/{project}/servers")
    assert refused.status_code == 400
    assert f"project_id '{project}'" in refused.json["badRequest"]["message"]


def test_a_query_is_looked_at_from_its_microversion_on(site: Site) -> None:
    old = site.ask("/v2.1/servers/x", query_string="unknown=1")
    assert (old.status_code, old.json["query"]) == (200, {})
    new: Any = {"headers": {"OpenStack-API-Version": "compute 2.75"}}
    refused = site.ask("/v2.1/servers/x", query_string="unknown=1", **new)
    assert "'unknown' was unexpected" in refused.json["badRequest"]["message"]
    taken = site.ask("/v2.1/servers/x", query_string="word=a", **new)
    assert taken.json["query"] == {"word": ["a"]}


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("word=a&word=b", "query word: it stands more than once"),
        ("word=a%0a", "does not match"),
        ("word=%00", "query parameter word has a NUL"),
        ("%00=a", "the query has a NUL"),
        ("&".join(f"a{each}=1" for each in range(101)), "more than 100 parameters"),
    ],
)
def test_a_wrong_query_is_refused(site: Site, query: str, words: str) -> None:
    headers = {"OpenStack-API-Version": "compute latest"}
    refused = site.ask("/v2.1/servers/x", query_string=query, headers=headers)
    assert words in refused.json["badRequest"]["message"]


def test_a_request_of_a_later_microversion_is_not_there_yet(site: Site) -> None:
    assert site.ask("/v2.1/os-things").status_code == 404
    headers = {"OpenStack-API-Version": "compute 2.60"}
    assert site.ask("/v2.1/os-things", headers=headers).status_code == 200


def test_whoever_is_unknown_learns_nothing_but_that(site: Site) -> None:
    refused = site.ask("/v2.1/servers/x", headers={"X-Auth-Token": "wrong"})
    assert refused.status_code == 401
    assert refused.json["unauthorized"]["code"] == 401
    assert not site.asked
    assert site.ask("/v2.1", headers={"X-Auth-Token": "wrong"}).status_code == 200


@pytest.mark.parametrize(
    ("how", "status", "words"),
    [
        ("crash", 500, "the API failed; its log says why"),
        ("away", 503, "does not answer"),
        ("busy", 503, "too many streams"),
        ("ours", 500, "secret"),
        ("used", 400, "in use"),
    ],
)
def test_whatever_fails_is_a_fault_with_an_id(
    site: Site, how: str, status: int, words: str
) -> None:
    found = site.ask(f"/v2.1/fail/{how}")
    assert found.status_code == status
    ((name, fault),) = found.json.items()
    assert words in fault["message"]
    assert found.headers["X-Openstack-Request-Id"] == found.headers["X-Compute-Request-Id"]
    assert ("Retry-After" in found.headers) == (status == 503)
    assert site.told == [("GET", "/v2.1/fail/{how}", status)]
    assert name


def test_a_crash_tells_the_log_alone(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    found = site.ask("/v2.1/fail/crash")
    assert "secret" not in found.text
    assert found.headers["X-Openstack-Request-Id"] in caplog.text
    assert "KeyError" in caplog.text


def test_what_is_nowhere_is_one_series(site: Site) -> None:
    site.ask("/a")
    site.ask("/b", method="DELETE")
    assert site.told == [("unknown", "unknown", 404)] * 2


def test_each_request_is_one_line_of_the_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        site.ask("/v2.1/servers/x%0ay")
    (line,) = [each.getMessage() for each in caplog.records if "api request" in each.getMessage()]
    assert line.startswith("api request: request_id=req-")
    assert "method=GET path=/v2.1/servers/x%0Ay status=400 seconds=0.0" in line


def test_no_two_requests_have_one_id(site: Site) -> None:
    ids = {site.ask("/v2.1").headers["X-Openstack-Request-Id"] for _ in range(5)}
    assert len(ids) == 5


def test_only_compute_says_its_id_twice(site: Site) -> None:
    assert "X-Compute-Request-Id" not in site.ask("/v3/volumes").headers


def test_every_answer_says_its_microversion(site: Site) -> None:
    headers = {"OpenStack-API-Version": "compute 2.60, volume 3.5"}
    assert site.ask("/v2.1/servers", headers=headers).headers["OpenStack-API-Version"] == (
        "compute 2.60"
    )
    assert site.ask("/v3/volumes", headers=headers).headers["OpenStack-API-Version"] == "volume 3.5"
    failed = site.ask("/v2.1/fail/used", headers=headers)
    assert failed.headers["OpenStack-API-Version"] == "compute 2.60"
    assert failed.headers["X-Blockworker-Code"] == VolumeInUse.code


def test_links_are_to_where_the_client_has_asked(site: Site) -> None:
    site.ask("/v2.1", headers={"Host": "cloud.example:8774"})
    assert site.asked[0].base == "http://cloud.example:8774"
    assert json.dumps(site.asked[0].path) == "{}"


class Line(io.BytesIO):
    """A body that does not come."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def read(self, _size: int | None = -1, /) -> bytes:
        raise self._error


@pytest.mark.parametrize(
    ("environ", "status", "words"),
    [
        ({"wsgi.input": Line(TimeoutError("timed out"))}, 408, "did not come whole in time"),
        ({"wsgi.input": Line(ConnectionResetError())}, 400, "could not be read whole"),
        ({"wsgi.input_terminated": True}, 411, "say Content-Length"),
    ],
)
def test_a_body_that_does_not_come_is_told(
    site: Site, environ: dict[str, Any], status: int, words: str
) -> None:
    found = site.ask("/v2.1/servers", method="POST", body="{}", extras=environ)
    assert found.status_code == status
    ((_, fault),) = found.json.items()
    assert words in fault["message"]
    assert not site.asked
