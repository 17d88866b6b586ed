"""``blockworker api`` and what is within it, and what is said before a start."""

import io
import json
import re
import shlex
from pathlib import Path

import pytest

from worker.cmd import options
from worker.cmd.main import main
from worker.conf import load
from worker.errors import Invalid
from worker.model.finding import Verdict
from worker.wiring.api import Api
from worker.wiring.doctor import services
from worker.wiring.doctor.surroundings import Surroundings

Printed = pytest.CaptureFixture[str]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "blockworker.conf"
    file.write_text(f"[DEFAULT]\nstate_path = {tmp_path / 'state'}\n[api]\n")
    return file


def run(config: Path, *words: str, capsys: Printed) -> tuple[int, str, str]:
    status = main([*words, "--config-file", str(config)])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_tokens_are_added_listed_and_removed(config: Path, capsys: Printed) -> None:
    add = ("api", "token", "add", "bob", "--project-id", "p", "--role", "reader")
    status, token, said = run(config, *add, capsys=capsys)
    assert (status, len(token.strip()) > 40) == (0, True)
    assert "not shown again" in said
    status, listed, _ = run(config, "api", "token", "list", "--json", capsys=capsys)
    rows = json.loads(listed)
    assert [each["name"] for each in rows] == ["administrator", "bob"]
    owner = {"project_id": "p", "user_id": "bob", "roles": "reader"}
    assert rows[1] == {"name": "bob", "readable": False, **owner}
    file = config.parent / "state" / "api-tokens"
    assert token.strip() not in file.read_text() + listed
    assert run(config, "api", "token", "remove", "bob", capsys=capsys)[0] == 0
    status, _, said = run(config, "api", "token", "remove", "bob", capsys=capsys)
    assert (status, "no token is named bob" in said) == (1, True)


def test_a_token_may_be_given_for_the_clouds_yaml(
    config: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, token, _ = run(config, "api", "token", "add", "bob", capsys=capsys)
    monkeypatch.setattr("sys.stdin", io.StringIO(token))
    # The file is named before the command within: that counts too.
    assert main(["api", "--config-file", str(config), "clouds", "--token-stdin"]) == 0
    assert f"token: {json.dumps(token.strip())}" in capsys.readouterr().out
    _, admins, _ = run(config, "api", "clouds", capsys=capsys)
    assert re.findall(r'token: "(.*)"', admins) != [token.strip()]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("listen = 0.0.0.0:1\n", "set [api] allow_remote"),
        ("listen = 0.0.0.0:1\nallow_remote = true\nauth = none\n", "is the administrator"),
        ("listen = nowhere\n", "is not host:port"),
        ("auth = keystone\n", "[keystone_authtoken] auth_type"),
        ("tls_key = k\n", "set both or neither"),
    ],
)
def test_what_a_start_would_refuse_is_found_before(
    config: Path, capsys: Printed, more: str, said: str
) -> None:
    with config.open("a") as file:
        file.write(more)
    status, _, wrong = run(config, "config", "check", capsys=capsys)
    assert (status, said in wrong) == (1, True), wrong
    with pytest.raises(Invalid, match=re.escape(said)):
        list(services.api(Surroundings(load([config]))))
    with pytest.raises(Invalid, match=re.escape(said)):
        Api(load([config]), beside_worker=True).start()


def test_a_wrong_policy_is_found_before(config: Path, capsys: Printed) -> None:
    assert run(config, "config", "check", capsys=capsys)[0] in (0, 3)
    config.with_name("policy.yaml").write_text("a: [")
    status, _, said = run(config, "config", "check", capsys=capsys)
    assert (status, "policy.yaml cannot be read" in said) == (1, True)


def test_the_doctor_names_an_open_door(config: Path) -> None:
    (well,) = services.api(Surroundings(load([config])))
    assert well.verdict is Verdict.OK
    with config.open("a") as file:
        file.write("auth = none\n")
    _, found = services.api(Surroundings(load([config])))
    assert found.verdict is Verdict.WARNING


def test_another_command_is_told_to_read_the_same() -> None:
    parse = options.shared().parse_args
    assert options.again(parse([])) == ""
    said = ["--config-file", "/a b", "--config-file", "/c", "--state-path", "/d"]
    assert shlex.split(options.again(parse(said))) == said
    assert options.again(parse(["--state-path", "d"])) == f"--state-path {Path('d').absolute()}"


@pytest.mark.parametrize("words", [("all-in-one",), ("api",), ("api", "token"), ("api", "clouds")])
def test_the_commands_say_what_they_are(words: tuple[str, ...], capsys: Printed) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([*words, "--help"])
    assert len(capsys.readouterr().out.splitlines()) > 5
