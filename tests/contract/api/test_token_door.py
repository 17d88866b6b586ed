"""Callers with a token of the file, and the token requests that their clients make."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from falcon.testing import simulate_get
from keystoneauth1.identity.v3 import Token
from keystoneauth1.session import Session

from tests.api_rig import ApiRig, Json, api_rig
from worker.api.asked import Who
from worker.api.front.open_door import PROJECT
from worker.api.front.server import WebServer
from worker.api.front.token_file import TokenFile
from worker.wiring.api_front import token_file

TOKENS = "/identity/v3/auth/tokens"
LIST = "/v2.1/servers/{}/os-volume_attachments"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiRig]:
    state: Path = tmp_path_factory.mktemp("api")
    with api_rig(state, api__auth="token") as rig:
        yield rig


@pytest.fixture(scope="module")
def file(guarded: ApiRig) -> TokenFile:
    return token_file(guarded.conf)


@pytest.fixture(scope="module")
def admins(file: TokenFile) -> str:
    token = file.lines()[0].token
    assert token is not None
    return token


@pytest.fixture(scope="module")
def strangers(file: TokenFile) -> str:
    roles = frozenset({"member", "reader"})
    return file.add("stranger", Who(user_id="s", project_id="elsewhere", roles=roles))


def asking(token: str, scope: object = None) -> Json:
    auth: Json = {"identity": {"methods": ["token"], "token": {"id": token}}}
    return {"auth": auth if scope is None else auth | {"scope": scope}}


def test_each_sees_their_own_and_the_administrator_all(
    guarded: ApiRig, admins: str, strangers: str
) -> None:
    path = LIST.format(guarded.server())
    theirs = LIST.format(guarded.server("elsewhere"))
    status = {
        who: [
            guarded.ask("GET", each, headers={"X-Auth-Token": who}).status
            for each in (path, theirs)
        ]
        for who in (admins, strangers, "nobody")
    }
    assert status == {admins: [200, 200], strangers: [404, 200], "nobody": [401, 401]}


def test_a_role_that_only_reads_changes_nothing(guarded: ApiRig, file: TokenFile) -> None:
    reader = Who(user_id="r", project_id=PROJECT, roles=frozenset({"reader"}))
    headers = {"X-Auth-Token": file.add("only reader", reader)}
    path, body = LIST.format(guarded.server()), {"volumeAttachment": {"volumeId": guarded.volume()}}
    assert guarded.ask("GET", path, headers=headers).status == 200
    refused = guarded.ask("POST", path, body, headers=headers)
    assert refused.status == 403
    assert "os-volumes-attachments:create" in refused.message


def test_a_token_is_taken_for_itself_with_whose_it_is_and_what_there_is(
    guarded: ApiRig, strangers: str
) -> None:
    answer = guarded.ask("POST", TOKENS, asking(strangers, {"project": {"id": "elsewhere"}}))
    assert (answer.status, answer.headers["x-subject-token"]) == (201, strangers)
    told = answer.body["token"]
    assert (told["user"]["id"], told["project"]["id"]) == ("s", "elsewhere")
    assert {each["name"] for each in told["roles"]} == {"member", "reader"}
    urls = {each["type"]: each["endpoints"][0]["url"] for each in told["catalog"]}
    assert set(urls) == {"compute", "block-storage", "volumev3", "image", "identity"}
    for type_, url in urls.items():
        path = url.removeprefix("http://localhost")
        assert guarded.ask("GET", path).status in (200, 300), type_


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        ({"identity": {"methods": ["password"], "password": {"user": {}}}}, "v3token"),
        ({"identity": {"methods": ["application_credential"]}}, "v3token"),
        ({"identity": {"methods": ["token", "password"], "token": {"id": "x"}}}, "v3token"),
        ({"identity": {"methods": ["token"]}}, "v3token"),
        ({"identity": {"methods": ["token"], "token": {"id": "wrong"}}}, "api token add"),
    ],
)
def test_what_else_there_may_be_is_told_what_to_do(guarded: ApiRig, auth: Json, said: str) -> None:
    refused = guarded.ask("POST", TOKENS, {"auth": auth})
    assert refused.status == 401
    assert said in refused.message
    assert refused.headers["www-authenticate"].startswith('Keystone uri="http')


@pytest.mark.parametrize(
    "scope", [{"project": {"id": PROJECT}}, {"system": {"all": True}}, {"domain": {"id": "x"}}]
)
def test_a_token_has_no_other_scope(guarded: ApiRig, strangers: str, scope: Json) -> None:
    refused = guarded.ask("POST", TOKENS, asking(strangers, scope))
    assert refused.status == 401
    assert "for project elsewhere" in refused.message


def test_a_token_is_validated_for_who_has_one(guarded: ApiRig, admins: str, strangers: str) -> None:
    headers = {"X-Auth-Token": admins, "X-Subject-Token": strangers}
    shown = guarded.ask("GET", TOKENS, headers=headers)
    assert (shown.status, shown.body["token"]["user"]["id"]) == (200, "s")
    wrong = guarded.ask("GET", TOKENS, headers=headers | {"X-Subject-Token": "x"})
    assert wrong.status == 404
    assert guarded.ask("GET", TOKENS, headers={"X-Subject-Token": strangers}).status == 401


def test_whoever_asks_an_open_api_is_the_administrator(api: ApiRig) -> None:
    for body in (asking("whatever"), asking("whatever", "unscoped")):
        answer = api.ask("POST", TOKENS, body)
        assert (answer.status, answer.body["token"]["project"]["id"]) == (201, PROJECT)


@pytest.mark.parametrize("token", ["a\r\nX-Forged: yes", "\u20ac", "a b"])
def test_what_no_header_can_carry_is_no_token(api: ApiRig, token: str) -> None:
    refused = api.ask("POST", TOKENS, asking(token))
    assert refused.status == 400
    assert "X-Forged" not in refused.headers


def test_keystones_own_client_gets_in(guarded: ApiRig, strangers: str) -> None:
    server = WebServer(guarded.application, ("127.0.0.1", 0), threads=2)
    url = f"http://127.0.0.1:{server.start()}"
    try:
        auth = Token(f"{url}/identity/v3", strangers, project_id="elsewhere")
        session = Session(auth)
        assert session.get_token() == strangers
        assert session.get_endpoint(service_type="compute") == f"{url}/v2.1"
        found = session.get(
            LIST.format(guarded.server("elsewhere")).removeprefix("/v2.1"),
            endpoint_filter={"service_type": "compute"},
        )
        assert found.status_code == 200
    finally:
        server.stop()


def test_no_token_is_in_a_log(
    guarded: ApiRig, admins: str, strangers: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        guarded.ask("POST", TOKENS, asking(admins))
        guarded.ask("POST", TOKENS, asking("not-a-token"))
        guarded.ask("GET", "/v2.1/servers", headers={"X-Auth-Token": strangers}, query="name=hush")
        guarded.ask("GET", "/v2.1/servers", headers={"X-Auth-Token": "not-a-token"})
    lines = [each for each in caplog.messages if each.startswith("api request")]
    assert len(lines) == 4
    # Who asked is said; of a token that nobody has there is nobody to name.
    assert "user=s project=elsewhere method=GET path=/v2.1/servers status=200" in lines[2]
    assert "user=- project=- method=GET path=/v2.1/servers status=401" in lines[3]
    for secret in (admins, strangers, "not-a-token", "hush"):
        assert secret not in caplog.text


def test_what_a_proxy_might_say_is_not_believed(guarded: ApiRig, admins: str) -> None:
    said = {
        "X-Forwarded-Host": "evil",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-For": "127.0.0.1",
        "Forwarded": "host=evil;proto=https",
    }
    found = simulate_get(guarded.application, "/", headers=said)
    assert "evil" not in json.dumps(found.json)
    assert "https" not in json.dumps(found.json)
    headers = {"X-Auth-Token": admins, "X-Forwarded-For": "10.1.1.1"}
    assert guarded.ask("GET", LIST.format(guarded.server()), headers=headers).status == 200
