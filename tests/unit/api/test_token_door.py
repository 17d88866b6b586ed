"""The door of the token file: whom it knows, in what time, and what it says to the others."""

import hmac
import logging
from pathlib import Path
from typing import Any

import pytest

from worker.api.asked import Refused, Who
from worker.api.front.open_door import ANYBODY
from worker.api.front.token_door import TokenDoor
from worker.api.front.token_file import TokenFile, digest_of
from worker.errors import Invalid

SOMEBODY = Who(user_id="u", project_id="p", roles=frozenset({"reader"}))


@pytest.fixture
def file(tmp_path: Path) -> TokenFile:
    found = TokenFile(tmp_path / "own" / "tokens")
    found.make()
    return found


def environ(token: str | None = None) -> dict[str, Any]:
    asked = {"wsgi.url_scheme": "http", "HTTP_HOST": "api:1", "SCRIPT_NAME": "", "PATH_INFO": "/x"}
    return asked if token is None else asked | {"HTTP_X_AUTH_TOKEN": token}


def first_token(file: TokenFile) -> str:
    token = file.lines()[0].token
    assert token is not None
    return token


def test_each_token_stands_for_its_own(file: TokenFile) -> None:
    bobs = file.add("bob", SOMEBODY)
    door = TokenDoor(file)
    assert door.identify(environ(first_token(file))) == ANYBODY
    assert door.identify(environ(bobs)) == SOMEBODY


@pytest.mark.parametrize("wrong", [None, "", "x", "\udc80", "a" * 100_000])
def test_whoever_has_none_is_told_how_to_get_one(file: TokenFile, wrong: str | None) -> None:
    with pytest.raises(Refused, match="blockworker api clouds") as refused:
        TokenDoor(file).identify(environ(wrong))
    assert refused.value.status == 401
    assert refused.value.headers["WWW-Authenticate"] == 'Keystone uri="http://api:1/identity/v3"'


def test_a_hash_is_no_token(file: TokenFile) -> None:
    door = TokenDoor(file)
    assert door.known(digest_of(first_token(file))) is None
    assert door.known(first_token(file)[:-1]) is None
    assert door.known(first_token(file) + "x") is None


@pytest.mark.parametrize("position", [0, 3, 6, None])
def test_every_line_is_compared_whichever_it_is(file: TokenFile, position: int | None) -> None:
    tokens = [first_token(file), *(file.add(f"user{each}", SOMEBODY) for each in range(6))]
    compared = []

    def same(one: str, other: str) -> bool:
        compared.append(one)
        return hmac.compare_digest(one, other)

    TokenDoor(file, same).known("none" if position is None else tokens[position])
    assert compared == [each.digest for each in file.lines()]


def test_a_change_of_the_file_counts_at_once(
    file: TokenFile, caplog: pytest.LogCaptureFixture
) -> None:
    door = TokenDoor(file)
    with caplog.at_level(logging.DEBUG):
        token = file.add("bob", SOMEBODY)
        assert door.known(token) == SOMEBODY
        file.remove("bob")
        assert door.known(token) is None
    assert "token file read again" in caplog.text
    assert token not in caplog.text


def test_a_wrong_file_is_named_once_and_the_last_good_one_counts(
    file: TokenFile, caplog: pytest.LogCaptureFixture
) -> None:
    door, good, token = TokenDoor(file), file.path.read_text(), first_token(file)
    file.path.write_text(good.replace("name", "nmae"))
    assert [door.known(token), door.known(token)] == [ANYBODY, ANYBODY]
    file.path.chmod(0o644)
    assert door.known(token) == ANYBODY
    assert [each.levelname for each in caplog.records] == ["ERROR", "ERROR"]
    assert token not in caplog.text
    file.path.chmod(0o600)
    file.path.write_text("")
    assert door.known(token) is None


def test_a_wrong_file_is_a_wrong_start(file: TokenFile) -> None:
    file.path.chmod(0o644)
    with pytest.raises(Invalid, match="0600"):
        TokenDoor(file)
