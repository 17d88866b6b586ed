"""Every request as the OpenAPI document has it, asked with what schemathesis makes of it.

No answer is a failure of ours, and each is as the document says. The ids of a server, of its volume
and of the rest that there is are put in, or nearly all would be 404.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st
from schemathesis import CheckContext, GenerationMode
from schemathesis.specs.openapi import checks as described

from tests.api_rig import ApiRig, Json
from tests.contract.api.server_scenes import image
from tests.contract.api.server_scenes import wanted as create_a_server
from worker.api.asked import Version
from worker.api.front.open_door import PROJECT
from worker.api.microversions import HEADER, LEGACY, RANGES
from worker.api.openapi import document
from worker.api.route import Route, Service
from worker.api.routes import ROUTES

SEED = int(os.environ.get("BLOCKWORKER_SEED", "8"))
"""Fixed, so that a red CI can be repeated; another finds other things."""

EXAMPLES = 10
LONG = 200

OLD = {Service.COMPUTE: Version(2, 60), Service.VOLUME: Version(3, 0)}
NEW = {service: newest for service, (_, newest) in RANGES.items()}


def wrong_is_refused(
    asked: CheckContext, answer: schemathesis.Response, case: schemathesis.Case[Any]
) -> bool | None:
    """See that what breaks the schema is refused: with 413 too, which schemathesis forgets."""
    if 400 <= answer.status_code < 500:
        return None
    return described.negative_data_rejection(asked, answer, case)


CHECKS = [
    schemathesis.checks.not_a_server_error,
    described.status_code_conformance,
    described.content_type_conformance,
    described.response_headers_conformance,
    described.response_schema_conformance,
    wrong_is_refused,
]

STREAM = "text/event-stream"


@dataclass(frozen=True, kw_only=True)
class There:
    """What the API has, by the names under which requests speak of it."""

    names: Mapping[str, list[str]]
    bodies: Mapping[str, list[Json]]
    """Bodies that can be meant, by the path that they are sent to: no chance makes a server."""

    def body_of(self, path: str, made: Any, draw: Any) -> Any:  # noqa: ANN401 - JSON
        """Return a body that can be meant, now and then, and else what was made."""
        known = self.bodies.get(path)
        if known and draw(st.booleans()):
            return draw(st.sampled_from(known))
        return self.put_into(made, draw)

    def put_into(self, value: Any, draw: Any) -> Any:  # noqa: ANN401 - JSON
        """Return the value, with real ids where some are spoken of; not always."""
        if isinstance(value, dict):
            return {name: self._one(name, each, draw) for name, each in value.items()}
        if isinstance(value, list):
            return [self.put_into(each, draw) for each in value]
        return value

    def _one(self, name: str, value: Any, draw: Any) -> Any:  # noqa: ANN401 - JSON
        known = self.names.get(name)
        if known and isinstance(value, str) and draw(st.integers(0, 3)):
            return draw(st.sampled_from(known))
        return self.put_into(value, draw)


@pytest.fixture
def there(api: ApiRig) -> There:
    """A server with a volume, and a volume that is free; each test has its own to destroy."""
    server, volume, free = api.server(), api.volume(), api.volume()
    wanted = {"volumeAttachment": {"volumeId": volume}}
    path = f"/v2.1/servers/{server}/os-volume_attachments"
    attached = api.ask("POST", path, wanted)
    operation = attached.headers["X-Blockworker-Operation"]
    api.end_of(attached)
    volumes: list[str] = [volume, free]
    names: dict[str, list[str]] = {
        "server_id": [server],
        "server_uuid": [server],
        "volume_id": volumes,
        "volumeId": volumes,
        "uuid": volumes,
        "tag": [volume],
        "operation_id": [operation],
        "request_id": [f"req-{operation}", attached.headers["X-Openstack-Request-Id"]],
        "flavorRef": ["1", "2"],
        "image_id": [image(api)],
        "flavor_id": ["1"],
        "project_id": [PROJECT],
    }
    bodies: dict[str, list[Json]] = {
        "/v2.1/servers": [create_a_server(api)],
        "/v2.1/servers/{server_id}/action": [
            {"os-stop": None},
            {"os-start": None},
            {"reboot": {"type": "HARD"}},
            {"rescue": {"rescue_image_ref": image(api)}},
            {"unrescue": None},
        ],
        "/v2.1/servers/{server_id}/os-volume_attachments": [
            {"volumeAttachment": {"volumeId": free}}
        ],
        "/v3/volumes": [{"volume": {"size": 1}}],
        "/v3/volumes/{volume_id}/action": [{"os-extend": {"new_size": 2}}],
    }
    return There(names=names, bodies=bodies)


def ask_all(
    api: ApiRig, there: There, route: Route, versions: Mapping[Service, Version], examples: int
) -> None:
    made = document(ROUTES, versions)
    # Who is let in has tests of its own (test_no_token.py).
    del made["paths"][route.path][route.method.lower()]["security"]
    schema = schemathesis.openapi.from_dict(made)
    schema.app = api.application
    operation = schema[route.path][route.method]
    good, bad = (operation.as_strategy(generation_mode=mode) for mode in GenerationMode)
    spoken = versions.get(route.service)
    headers = {HEADER: f"{route.service} {spoken}", LEGACY: str(spoken)} if spoken else {}

    @seed(SEED)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def ask(data: st.DataObject) -> None:
        note(f"BLOCKWORKER_SEED={SEED}")
        as_described = data.draw(st.integers(0, 2)) > 0
        case = data.draw(good if as_described else bad)
        if as_described:
            case.path_parameters = there.put_into(case.path_parameters, data.draw)
            if route.method == "POST":
                case.body = there.body_of(route.path, case.body, data.draw)
        answer = case.call(headers=headers | api.headers)
        case.validate_response(answer, checks=CHECKS)

    ask()


ASKED = [
    pytest.param(route, id=f"{route.method} {route.path} since {route.since}")
    for route in ROUTES
    if route.media != STREAM
]


@pytest.mark.parametrize("versions", [NEW, OLD], ids=["new", "old"])
@pytest.mark.parametrize("route", ASKED)
def test_every_answer_is_as_described(
    api: ApiRig, there: There, route: Route, versions: Mapping[Service, Version]
) -> None:
    ask_all(api, there, route, versions, EXAMPLES)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("versions", [NEW, OLD], ids=["new", "old"])
@pytest.mark.parametrize("route", ASKED)
def test_every_answer_is_as_described_for_long(
    api: ApiRig, there: There, route: Route, versions: Mapping[Service, Version]
) -> None:
    ask_all(api, there, route, versions, LONG)
