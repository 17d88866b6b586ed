"""The file of tokens: who may have it, what may be in it, and that it changes whole."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from worker.api.asked import Who
from worker.api.front.open_door import ANYBODY
from worker.api.front.token_file import TokenFile, digest_of, parsed, rendered
from worker.errors import Invalid

SOMEBODY = Who(user_id="u", project_id="p", roles=frozenset({"reader"}))
HASH = "0" * 64


@pytest.fixture
def file(tmp_path: Path) -> TokenFile:
    found = TokenFile(tmp_path / "own" / "tokens")
    assert found.make()
    return found


def line(**changed: object) -> str:
    values = {"name": "a", "sha256": HASH, "project_id": "p", "user_id": "u", "roles": ["r"]}
    given = {k: v for k, v in (values | changed).items() if v is not None}
    return "[[token]]\n" + "\n".join(f"{k} = {v!r}" for k, v in given.items()) + "\n"


def test_it_is_made_once_for_the_administrator_and_for_nobody_elses_eyes(file: TokenFile) -> None:
    (first,) = file.lines()
    assert (first.name, first.who) == ("administrator", ANYBODY)
    assert first.token is not None
    assert first.digest == digest_of(first.token)
    assert len(first.token) > 40
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
    assert not file.make()
    assert file.lines() == (first,)
    assert first.token not in repr(first)
    assert first.token not in str(first.public())


def test_of_a_token_that_is_added_only_the_hash_is_kept(file: TokenFile) -> None:
    token = file.add("bob", SOMEBODY)
    added = file.lines()[-1]
    assert (added.name, added.who, added.token) == ("bob", SOMEBODY, None)
    assert added.digest == digest_of(token)
    assert token not in file.path.read_text()
    assert not token.startswith("-")
    file.remove("bob")
    assert [each.name for each in file.lines()] == ["administrator"]


def test_a_name_stands_for_one_token(file: TokenFile) -> None:
    with pytest.raises(Invalid, match="administrator is there already"):
        file.add("administrator", SOMEBODY)
    with pytest.raises(Invalid, match="no token is named bob; there are: administrator"):
        file.remove("bob")
    with pytest.raises(Invalid, match="name is missing"):
        file.add("two\nlines", SOMEBODY)
    assert len(file.lines()) == 1


def test_what_is_added_at_the_same_time_is_all_there(file: TokenFile) -> None:
    names = [f"user{each}" for each in range(24)]
    with ThreadPoolExecutor(12) as threads:
        tokens = list(threads.map(lambda name: file.add(name, SOMEBODY), names))
    assert {each.name for each in file.lines()} == {*names, "administrator"}
    assert {digest_of(each) for each in tokens} < {each.digest for each in file.lines()}
    left = sorted(each.name for each in file.path.parent.iterdir())
    assert left == ["tokens", "tokens.lock"]


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o602])
def test_a_file_that_others_may_have_is_refused(file: TokenFile, mode: int) -> None:
    file.path.chmod(mode)
    with pytest.raises(Invalid, match=f"mode {mode:04o}.*chmod it to 0600"):
        file.lines()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_another_users_file_is_refused(file: TokenFile) -> None:
    os.chown(file.path, 4242, -1)
    with pytest.raises(Invalid, match="another user's"):
        file.lines()


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770])
def test_nothing_is_put_where_others_put_files(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(Invalid, match="chmod it to 0700"):
        TokenFile(folder / "tokens").make()
    assert list(folder.iterdir()) == []


def test_a_file_that_is_not_there_is_told_how_it_comes(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="makes it at its first start"):
        TokenFile(tmp_path / "none").lines()


def test_what_is_written_is_what_is_read(file: TokenFile) -> None:
    file.add("bob", SOMEBODY)
    assert parsed(rendered(file.lines()), file.path) == file.lines()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[token]", "no TOML at line 1"),
        ("token = 'hunter2'", r"\[\[token\]\] tables and nothing else"),
        ("other = 1", r"\[\[token\]\] tables and nothing else"),
        (line(password="x"), "token 1 of /f has password, which is not known"),
        (line(sha256=None), "either `token` or `sha256`"),
        (line(token="x" * 40), "either `token` or `sha256`"),
        (line(sha256=None, token="hunter2"), "at least 32 letters"),
        (line(sha256="abc"), "sha256 is missing, or is not of the form"),
        (line(roles="admin"), "roles is to be a list"),
        (line(user_id=None), "user_id is missing"),
        (line(project_id=5), "project_id is missing"),
        (line() + line(), "the same name"),
        (line() + line(name="b"), "the same digest"),
    ],
)
def test_what_cannot_be_meant_is_named_and_no_token_is_said(text: str, said: str) -> None:
    with pytest.raises(Invalid, match=said) as refused:
        parsed(text, Path("/f"))
    assert "hunter2" not in str(refused.value)
