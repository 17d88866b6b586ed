"""Without a token nothing is told, whatever is asked; with one the same request is understood."""

import re
from collections.abc import Iterator

import pytest
from jsonschema import Draft202012Validator

from tests.api_rig import ApiRig, api_rig
from worker.api.openapi import document
from worker.api.route import Route
from worker.api.routes import ROUTES

GUARDED = [
    pytest.param(route, id=f"{route.method} {route.path} since {route.since}")
    for route in ROUTES
    if route.rule is not None
]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiRig]:
    with api_rig(tmp_path_factory.mktemp("guarded"), api__auth="token") as rig:
        yield rig


def described_fault(route: Route) -> Draft202012Validator:
    components = document(ROUTES)["components"]
    (media,) = components["responses"][f"{route.service}-401"]["content"].values()
    return Draft202012Validator({**media["schema"], "components": components})


@pytest.mark.parametrize("token", [None, "", "wrong", "\xe9"])
@pytest.mark.parametrize("route", GUARDED)
def test_nobody_is_let_in(guarded: ApiRig, route: Route, token: str | None) -> None:
    path = re.sub(r"{\w+}", "3f2504e0-4f89-41d3-9a0c-0305e82c3301", route.path)
    headers = {} if token is None else {"X-Auth-Token": token}
    refused = guarded.ask(route.method, path, {} if route.body else None, headers=headers)
    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"].startswith("Keystone uri=")
    assert refused.headers["X-Openstack-Request-Id"]
    assert "token" in refused.message
    described_fault(route).validate(refused.body)
