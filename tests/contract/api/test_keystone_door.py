"""Callers who are Keystone's: keystonemiddleware asks a scripted one, over HTTP."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.api_rig import ApiRig
from tests.contract.keystone_server import Keystone, keystone_server
from worker import conf as options
from worker.api.application import Application
from worker.api.asked import Who
from worker.api.front.open_door import PROJECT
from worker.api.routes import ROUTES
from worker.wiring.api import make_front
from worker.wiring.api_front import make_callers, make_door

LIST = "/v2.1/servers/{}/os-volume_attachments"
MEMBER: dict[str, Any] = {"user": "u", "project": PROJECT, "roles": ("member", "reader")}


@pytest.fixture
def keystone() -> Iterator[Keystone]:
    with keystone_server() as found:
        yield found


@pytest.fixture
def guarded(api: ApiRig, keystone: Keystone, tmp_path: Path) -> ApiRig:
    """The API, whose callers that Keystone knows."""
    file = tmp_path / "blockworker.conf"
    file.write_text(f"[api]\nauth = keystone\n{keystone.options()}\n")
    conf = options.load([file])
    assert options.unknown_options([file]) == []
    services = replace(api.services, callers=make_callers(conf))
    return replace(api, application=Application(ROUTES, services, make_front(conf)))


def test_a_member_is_known_by_their_token_and_reaches_their_own(
    guarded: ApiRig, keystone: Keystone
) -> None:
    keystone.know("members", **MEMBER)
    path = LIST.format(guarded.server())
    assert guarded.ask("GET", path, headers={"X-Auth-Token": "members"}).status == 200
    keystone.know("strangers", **(MEMBER | {"project": "another"}))
    assert guarded.ask("GET", path, headers={"X-Auth-Token": "strangers"}).status == 404
    keystone.know("roleless", **(MEMBER | {"roles": ()}))
    assert guarded.ask("GET", path, headers={"X-Auth-Token": "roleless"}).status == 403


@pytest.mark.parametrize("token", [None, "wrong", "expired"])
def test_who_is_not_known_is_told_where_tokens_are(
    guarded: ApiRig, keystone: Keystone, token: str | None
) -> None:
    keystone.know("expired", lasts=-60.0, **MEMBER)
    headers = {} if token is None else {"X-Auth-Token": token}
    refused = guarded.ask("GET", LIST.format(guarded.server()), headers=headers)
    assert refused.status == 401
    assert refused.headers["www-authenticate"] == f'Keystone uri="{keystone.url}"'
    assert "token of Keystone" in refused.message
    assert set(refused.body) == {"unauthorized"}


def test_a_keystone_that_is_away_is_no_wrong_token(guarded: ApiRig, keystone: Keystone) -> None:
    keystone.know("members", **MEMBER)
    keystone.broken = True
    path = LIST.format(guarded.server())
    refused = guarded.ask("GET", path, headers={"X-Auth-Token": "members"})
    assert (refused.status, refused.headers["retry-after"]) == (503, "5")
    assert "Keystone does not answer" in refused.message
    keystone.broken = False
    assert guarded.ask("GET", path, headers={"X-Auth-Token": "members"}).status == 200


def test_what_anybody_may_ask_needs_no_keystone(guarded: ApiRig, keystone: Keystone) -> None:
    keystone.broken = True
    for path in ("/", "/v2.1", "/openapi.json", "/identity/v3"):
        assert guarded.ask("GET", path, headers={"X-Auth-Token": "any"}).status == 200
    assert keystone.asked == []


def test_names_that_a_caller_gives_themselves_are_not_believed(
    guarded: ApiRig, keystone: Keystone
) -> None:
    keystone.know("members", **(MEMBER | {"project": "another"}))
    forged = {
        "X-Project-Id": PROJECT,
        "X-Roles": "admin",
        "X-User-Id": "root",
        "X-Identity-Status": "Confirmed",
        "X-Service-Roles": "service",
        "X-Service-Identity-Status": "Confirmed",
    }
    path = LIST.format(guarded.server())
    assert guarded.ask("GET", path, headers=forged).status == 401
    known = guarded.ask("GET", path, headers=forged | {"X-Auth-Token": "members"})
    assert known.status == 404


def test_tokens_are_keystones_and_not_ours(guarded: ApiRig, keystone: Keystone) -> None:
    body = {"auth": {"identity": {"methods": ["token"], "token": {"id": "members"}}}}
    assert guarded.ask("POST", "/identity/v3/auth/tokens", body).status == 404
    keystone.know("members", **MEMBER)
    headers = {"X-Auth-Token": "members", "X-Subject-Token": "members"}
    assert guarded.ask("GET", "/identity/v3/auth/tokens", headers=headers).status == 404


@pytest.mark.parametrize("wrong", ["account", "listed"])
def test_what_is_wrong_between_us_and_keystone_is_no_callers_fault(
    guarded: ApiRig, keystone: Keystone, caplog: pytest.LogCaptureFixture, wrong: str
) -> None:
    keystone.know("members", **MEMBER)
    setattr(keystone, wrong, False)
    path = LIST.format(guarded.server())
    assert guarded.ask("GET", path, headers={"X-Auth-Token": "members"}).status == 503
    assert "secret of the api" not in caplog.text


def identified(keystone: Keystone, folder: Path, **tokens: str) -> Who:
    file = folder / "c.conf"
    file.write_text(f"[api]\nauth = keystone\n{keystone.options()}\n")
    sent = {f"HTTP_{name.upper()}": value for name, value in tokens.items()}
    door = make_door(options.load([file]))
    return door.identify({"REQUEST_METHOD": "GET", "PATH_INFO": "/x", **sent})


def test_a_service_that_asks_for_a_user_is_known_beside_them(
    keystone: Keystone, tmp_path: Path
) -> None:
    keystone.know("members", **MEMBER)
    keystone.know("cinders", user="cinder", project="service", roles=("service",))
    found = identified(keystone, tmp_path, x_auth_token="members", x_service_token="cinders")
    assert (found.user_id, found.project_id) == ("u", PROJECT)
    assert found.roles == {"member", "reader"}
    assert found.service_roles == {"service"}


def test_a_service_may_bring_a_users_token_that_has_run_out(
    keystone: Keystone, tmp_path: Path
) -> None:
    keystone.know("members", lasts=-60.0, **MEMBER)
    keystone.know("cinders", user="cinder", project="service", roles=("service",))
    found = identified(keystone, tmp_path, x_auth_token="members", x_service_token="cinders")
    assert found.user_id == "u"


def test_any_valid_token_is_not_a_services(keystone: Keystone, tmp_path: Path) -> None:
    keystone.know("members", **MEMBER)
    keystone.know("others", user="v", project=PROJECT, roles=("member",))
    with pytest.raises(Exception, match="token of Keystone"):
        identified(keystone, tmp_path, x_auth_token="members", x_service_token="others")


def test_no_token_is_in_a_log(
    guarded: ApiRig, keystone: Keystone, caplog: pytest.LogCaptureFixture
) -> None:
    keystone.know("members-secret", **MEMBER)
    with caplog.at_level(logging.INFO):
        for token in ("members-secret", "wrong-secret"):
            guarded.ask("GET", LIST.format("x"), headers={"X-Auth-Token": token})
    assert "api request" in caplog.text
    assert "secret" not in caplog.text
