"""Where the API is served, to whom, and what a user is told: nothing unsafe by a slip."""

import json
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

from worker import conf as options
from worker.api.asked import Who
from worker.api.front.open_door import ANYBODY, OpenDoor
from worker.errors import Invalid
from worker.wiring.all_in_one import said
from worker.wiring.api import Api
from worker.wiring.api_front import (
    api_address,
    api_url,
    check_api,
    make_callers,
    make_door,
    token_file,
)
from worker.wiring.clouds import clouds_yaml

SOMEBODY = Who(user_id="u", project_id="p", roles=frozenset({"reader"}))


def configured(state: Path | str = "/s", **given: Any) -> cfg.ConfigOpts:  # noqa: ANN401
    return options.load(
        state_path=str(state), **{f"api__{name}": value for name, value in given.items()}
    )


@pytest.mark.parametrize("auth", ["token", "keystone", "none"])
@pytest.mark.parametrize("listen", ["127.0.0.1:1", "[::1]:1", "localhost:1", "127.0.0.9:1"])
def test_loopback_needs_nothing(listen: str, auth: str) -> None:
    api_address(configured(listen=listen, auth=auth))


REMOTE = {"listen": "0.0.0.0:8774"}
TLS = {"tls_certificate": "/c.pem", "tls_key": "/k.pem"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "set .api. allow_remote if that is meant"),
        ({"behind_proxy": True}, "set .api. allow_remote"),
        (TLS, "set .api. allow_remote"),
        ({"allow_remote": True}, "set .api. tls_certificate and tls_key, or behind_proxy"),
        ({"allow_remote": True, "auth": "none", **TLS}, "everybody there is the administrator"),
        ({"allow_remote": True, "auth": "none", "behind_proxy": True}, "change auth"),
        ({"allow_remote": True, "tls_key": "/k.pem"}, "set both or neither"),
        ({"allow_remote": True, "tls_certificate": "/c.pem"}, "set both or neither"),
    ],
)
def test_nobody_serves_it_to_the_world_by_a_slip(given: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        api_address(configured(**(REMOTE | given)))


@pytest.mark.parametrize("auth", ["token", "keystone"])
@pytest.mark.parametrize("way", [TLS, {"behind_proxy": True}])
def test_the_world_may_be_meant(auth: str, way: dict[str, Any]) -> None:
    given = configured(**REMOTE, allow_remote=True, auth=auth, **way)
    assert api_address(given) == ("0.0.0.0", 8774)  # noqa: S104


@pytest.mark.parametrize("listen", ["8774", "host:", "a:b", "x:70000"])
def test_an_address_that_cannot_be_meant_is_refused(listen: str) -> None:
    with pytest.raises(Invalid, match=r"\[api\] listen"):
        api_address(configured(listen=listen))


@pytest.mark.parametrize("url", ["kombu+memory://localhost/", "fake:/"])
def test_an_api_of_its_own_is_not_served_on_a_bus_of_its_own(tmp_path: Path, url: str) -> None:
    conf = options.load(state_path=str(tmp_path), transport_url=url)
    with pytest.raises(Invalid, match="run `blockworker all-in-one`"):
        Api(conf).start()
    assert list(tmp_path.iterdir()) == []
    Api(conf, beside_worker=True).check()


def test_a_check_makes_nothing_and_finds_what_a_start_would(tmp_path: Path) -> None:
    conf = configured(tmp_path)
    check_api(conf)
    assert list(tmp_path.iterdir()) == []
    token_file(conf).make()
    token_file(conf).path.chmod(0o644)
    with pytest.raises(Invalid, match="0600"):
        check_api(conf)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text("")
    key.chmod(0o644)
    given = {"tls_certificate": str(tmp_path / "c.pem"), "tls_key": str(key)}
    with pytest.raises(Invalid, match=r"key\.pem has mode 0644"):
        check_api(configured(tmp_path, **given))
    key.chmod(0o640)
    check_api(configured(tmp_path, **given))


def test_keystone_needs_to_be_told_where_it_is(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"keystone_authtoken. auth_type"):
        check_api(configured(tmp_path, auth="keystone"))


def test_who_a_token_stands_for_is_the_doors_to_say(tmp_path: Path) -> None:
    none, keystone = configured(auth="none"), configured(auth="keystone")
    tokens = configured(tmp_path, auth="token")
    assert isinstance(make_door(none), OpenDoor)
    open_to_all = make_callers(none)
    assert open_to_all is not None
    assert open_to_all("") == ANYBODY
    assert make_callers(keystone) is None
    known = make_callers(tokens)
    assert known is not None
    assert known(token_file(tokens).add("bob", SOMEBODY)) == SOMEBODY


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "http://127.0.0.1:8774"),
        ({"listen": "[::1]:5"}, "http://[::1]:5"),
        (TLS, "https://127.0.0.1:8774"),
        ({"public_url": "https://cloud/x/"}, "https://cloud/x"),
    ],
)
def test_clients_are_told_where_to_ask(given: dict[str, Any], url: str) -> None:
    assert api_url(configured(**given)) == url


def test_a_port_that_was_drawn_is_said() -> None:
    assert api_url(configured(listen="127.0.0.1:0"), 4711) == "http://127.0.0.1:4711"


def test_a_clouds_yaml_has_a_token_that_can_be_read(tmp_path: Path) -> None:
    conf = configured(tmp_path)
    file = token_file(conf)
    with pytest.raises(Invalid, match="first start"):
        clouds_yaml(conf)
    file.make()
    text, token = clouds_yaml(conf), file.lines()[0].token
    assert f"      token: {json.dumps(token)}" in text.splitlines()
    assert '    auth_type: "v3token"' in text.splitlines()
    bobs = file.add("bob", SOMEBODY)
    assert '      project_id: "p"' in clouds_yaml(conf, bobs).splitlines()
    with pytest.raises(Invalid, match=r"is not in .*token add"):
        clouds_yaml(conf, "x" * 40)
    file.remove("administrator")
    with pytest.raises(Invalid, match="--token-stdin"):
        clouds_yaml(conf)


def test_a_clouds_yaml_without_tokens_is_for_an_open_door_alone() -> None:
    text = clouds_yaml(configured(auth="none"))
    assert '    auth_type: "none"' in text.splitlines()
    assert '      endpoint: "http://127.0.0.1:8774/v2.1"' in text.splitlines()
    with pytest.raises(Invalid, match="Keystone's"):
        clouds_yaml(configured(auth="keystone"))


def test_the_first_words_say_where_the_token_is_and_not_which(tmp_path: Path) -> None:
    conf = configured(tmp_path)
    token_file(conf).make()
    text, token = said(conf, 4711, first=True), token_file(conf).lines()[0].token
    assert token is not None
    assert token not in text
    assert "http://127.0.0.1:8774" not in text or "4711" in text
    assert str(tmp_path / "api-tokens") in text
    assert "    (umask 077; blockworker api clouds > clouds.yaml)" in text.splitlines()
    again = said(conf, 1, "--state-path 'a b'", first=True)
    assert "blockworker api clouds --state-path 'a b' > clouds.yaml" in again
    assert "was made" not in said(conf, 1, first=False)
    assert "api-tokens" not in said(configured(auth="none"), 1, first=False)
