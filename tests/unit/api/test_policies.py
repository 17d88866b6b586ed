"""Rules and routes go together, and the operator's file is read whole or not at all."""

import logging
import os
from pathlib import Path

import pytest
from oslo_config import cfg
from oslo_policy.policy import DocumentedRuleDefault

from worker import conf as options
from worker.api.asked import Refused, Who
from worker.api.front import policies
from worker.api.front.enforcing import OsloPolicy
from worker.api.front.policies import RULES, list_rules
from worker.api.route import Route
from worker.api.routes import ROUTES
from worker.errors import Invalid

LIST = "os_compute_api:os-volumes-attachments:index"
MINE = {"project_id": "p", "user_id": "u"}
MEMBER = Who(user_id="u", project_id="p", roles=frozenset({"member", "reader"}))
READER = Who(user_id="v", project_id="p", roles=frozenset({"reader"}))
STRANGER = Who(user_id="w", project_id="q", roles=frozenset({"member", "reader"}))
ADMIN = Who(user_id="x", project_id="r", roles=frozenset({"admin"}))
SERVICE = Who(user_id="nova", project_id="s", roles=frozenset({"service"}))


@pytest.fixture
def conf(tmp_path: Path) -> cfg.ConfigOpts:
    file = tmp_path / "blockworker.conf"
    file.write_text("[DEFAULT]\n")
    return options.load([file])


def operator(conf: cfg.ConfigOpts, text: str) -> Path:
    """Write the operator's file, and have it seen as changed."""
    path = Path(conf.default_config_files[0]).with_name("policy.yaml")
    path.write_text(text)
    seen = path.stat().st_mtime_ns + 1_000_000
    os.utime(path, ns=(seen, seen))
    return path


def said_of(route: Route) -> str:
    path = route.path.removeprefix("/v2.1") if route.path.startswith("/v2.1/") else route.path
    return f"{route.method} {path}"


def named_by(rule: DocumentedRuleDefault) -> set[str]:
    """Return the requests of a rule; which action it is stands behind them, as in Nova's."""
    return {f"{each['method']} {each['path']}".partition(" (")[0] for each in rule.operations}


@pytest.mark.parametrize(
    "route",
    [each for each in ROUTES if each.rule],
    ids=lambda each: f"{said_of(each)} since {each.since}",
)
def test_each_request_has_its_rule_and_the_rule_names_it(route: Route) -> None:
    rule = next((each for each in RULES if each.name == route.rule), None)
    assert rule is not None, f"{route.rule} is not in RULES"
    assert said_of(route) in named_by(rule)


def test_each_rule_is_named_once() -> None:
    names = [each.name for each in list_rules()]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("rule", RULES, ids=lambda each: str(each.name))
def test_each_rule_names_requests_that_are_there(rule: DocumentedRuleDefault) -> None:
    assert named_by(rule) <= {said_of(route) for route in ROUTES}


def test_each_rule_is_asked() -> None:
    """By a route, or by its functions, which put some names together of their parts."""
    room = Path(policies.__file__).parents[1]
    files = (each for each in room.rglob("*.py") if each.parent.name != "front")
    text = " ".join(each.read_text() for each in files)
    by_route = {each.rule for each in ROUTES}
    others = [each.name for each in RULES if each.name not in by_route]
    assert [name for name in others if not any(f'{end}"' in text for end in ends(name))] == []


def ends(name: str) -> list[str]:
    words = name.split(":")
    return [":".join(words[at:]) for at in range(len(words))]


def test_what_anybody_may_ask_is_little() -> None:
    open_ones = {each.path for each in ROUTES if each.rule is None}
    assert open_ones == {
        *("/", "/v2.1", "/v3", "/v2", "/identity", "/identity/v3", "/identity/v3/auth/tokens"),
        *("/healthcheck", "/openapi.json", "/versions"),
    }


@pytest.mark.parametrize(
    ("who", "may"),
    [
        (MEMBER, ["index", "create"]),
        (READER, ["index"]),
        (STRANGER, []),
        (ADMIN, ["index", "create"]),
        (SERVICE, []),
    ],
)
def test_the_defaults_go_by_project_and_role(
    conf: cfg.ConfigOpts, who: Who, may: list[str]
) -> None:
    policy = OsloPolicy(conf)
    rules = {act: LIST.replace("index", act) for act in ("index", "create")}
    assert [act for act, rule in rules.items() if policy.allows(rule, who, MINE)] == may


def test_a_rule_that_nobody_knows_lets_nobody(conf: cfg.ConfigOpts) -> None:
    with pytest.raises(Refused, match="doesn't allow nothing:of:ours") as refused:
        OsloPolicy(conf).check("nothing:of:ours", ADMIN, MINE)
    assert refused.value.status == 403


def test_the_operators_rules_come_first_those_by_user_too(conf: cfg.ConfigOpts) -> None:
    operator(conf, f'"owner": "user_id:%(user_id)s"\n"{LIST}": "rule:owner"\n')
    policy = OsloPolicy(conf)
    assert policy.allows(LIST, MEMBER, MINE)
    assert not policy.allows(LIST, READER, MINE)
    assert not policy.allows(LIST, ADMIN, MINE)


def test_files_of_the_folder_come_after_the_file(conf: cfg.ConfigOpts) -> None:
    folder = operator(conf, f'"{LIST}": "!"').parent / "policy.d"
    folder.mkdir()
    (folder / "b.yaml").write_text(f'"{LIST}": "role:service"')
    (folder / "a.yaml").write_text(f'"{LIST}": "@"')
    policy = OsloPolicy(conf)
    assert policy.allows(LIST, SERVICE, MINE)
    assert not policy.allows(LIST, STRANGER, MINE)


def test_a_change_counts_at_once_and_so_does_its_end(conf: cfg.ConfigOpts) -> None:
    policy = OsloPolicy(conf)
    path = operator(conf, f'"{LIST}": "!"')
    assert not policy.allows(LIST, ADMIN, MINE)
    path.unlink()
    assert policy.allows(LIST, ADMIN, MINE)


WRONG = [
    "a: [",
    "- a",
    "a: 5",
    "a:",
    'a: "foo"',
    'a: "role:x or foo"',
    'a: "role:x or"',
    'a: "rule:missing"',
    'a: "rule:a"',
    "\x80",
]


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_file_is_a_wrong_start(conf: cfg.ConfigOpts, text: str) -> None:
    operator(conf, text)
    with pytest.raises(Invalid, match="polic"):
        OsloPolicy(conf)


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_file_at_run_time_is_named_and_the_last_good_rules_stay(
    conf: cfg.ConfigOpts, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    operator(conf, f'"{LIST}": "user_id:u"')
    policy = OsloPolicy(conf)
    operator(conf, f'"{LIST}": "@"\n{text}')
    for _ in range(3):
        assert policy.allows(LIST, MEMBER, MINE)
        assert not policy.allows(LIST, ADMIN, MINE)
    ours = [each for each in caplog.records if each.name == "worker.api.front.enforcing"]
    assert ["the last good rules count" in each.message for each in ours] == [True]
    operator(conf, "")
    assert policy.allows(LIST, ADMIN, MINE)


@pytest.mark.parametrize("text", ["!", "(!)", "not ! or role:x", "", "@"])
def test_rules_that_let_nobody_or_all_may_be_meant(conf: cfg.ConfigOpts, text: str) -> None:
    operator(conf, f'"{LIST}": "{text}"')
    OsloPolicy(conf)


def test_another_file_may_be_named(conf: cfg.ConfigOpts, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(f'"{LIST}": "!"')
    conf.set_override("policy_file", str(other), group="oslo_policy")
    assert not OsloPolicy(conf).allows(LIST, ADMIN, MINE)


def test_the_log_says_no_more_than_it_must(
    conf: cfg.ConfigOpts, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        OsloPolicy(conf).allows(LIST, MEMBER, MINE)
    assert caplog.records == []
