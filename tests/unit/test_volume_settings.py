"""[volume] service and [cinder] are checked before anybody is asked."""

from pathlib import Path

import pytest
from oslo_config import cfg

from worker import conf
from worker.cmd.main import main
from worker.errors import Invalid
from worker.volume.cinder.settings import CinderSettings, endpoint_of
from worker.wiring.volumes import check_volumes, lacks, make_cinder_session

WHOLE = {
    "password": {"auth_url": "http://c/v3", "password": "planted"},
    "application_credential": {
        "auth_url": "http://c/v3",
        "application_credential_id": "one",
        "application_credential_secret": "planted",
    },
    "token": {"auth_url": "http://c/v3", "token": "planted"},
    "admin_token": {"endpoint": "http://c/v3", "token": "planted"},
    "noauth": {"endpoint": "http://c", "project_id": "p"},
}


def check(**options: object) -> None:
    check_volumes(loaded(**options))


def loaded(**options: object) -> cfg.ConfigOpts:
    given = {f"cinder__{name}": value for name, value in options.items()}
    return conf.load((), volume__service="cinder", **given)


def test_the_pool_needs_nothing_of_it_and_asks_nobody() -> None:
    default = conf.load()
    check_volumes(default)
    assert default.volume.service == "pool"
    assert lacks(default) == ()


@pytest.mark.parametrize("kind", WHOLE)
def test_each_way_to_log_in_needs_what_it_needs(kind: str) -> None:
    check(auth_type=kind, **WHOLE[kind])
    for missing in WHOLE[kind]:
        less = {name: value for name, value in WHOLE[kind].items() if name != missing}
        with pytest.raises(Invalid, match=missing):
            check(auth_type=kind, **less)


def test_a_cloud_says_it_all() -> None:
    check(cloud="ours")


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(Invalid, match="certfile and keyfile"):
        check(certfile="/a", **WHOLE["password"])


@pytest.mark.parametrize("kind", WHOLE)
def test_no_secret_shows_in_what_is_made_of_it(kind: str) -> None:
    made = make_cinder_session(loaded(auth_type=kind, **WHOLE[kind]))
    settings: CinderSettings = made.settings
    assert settings.auth
    assert "planted" not in repr(settings)


@pytest.mark.parametrize(
    ("given", "project", "endpoint"),
    [
        ("http://c:8776", None, "http://c:8776/v3"),
        ("http://c:8776/v3/", None, "http://c:8776/v3"),
        ("http://c/volume/v3", "p", "http://c/volume/v3/p"),
        ("http://c/volume/v3/p", "p", "http://c/volume/v3/p"),
        ("http://c/v3/p", None, "http://c/v3/p"),
    ],
)
def test_an_endpoint_has_its_version_and_project(
    given: str, project: str | None, endpoint: str
) -> None:
    assert endpoint_of(given, project) == endpoint


def test_config_check_says_what_is_missing_and_show_hides_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "conf"
    file.write_text(
        f"[DEFAULT]\nstate_path = {tmp_path}\n[volume]\nservice = cinder\n"
        "[cinder]\ntoken = planted\napplication_credential_secret = planted\n"
    )
    assert main(["config", "check", "--config-file", str(file)]) == 1
    assert "needs auth_url, password" in capsys.readouterr().err
    assert main(["config", "show", "--config-file", str(file)]) == 0
    assert "planted" not in capsys.readouterr().out
