"""The API's systemd unit, as far as its promises rest on it."""

from pathlib import Path

from worker import conf as options

UNIT = Path(__file__).parents[2] / "etc" / "blockworker-api.service"


def value(name: str) -> str:
    (found,) = [
        line.partition("=")[2] for line in UNIT.read_text().splitlines() if line.startswith(name)
    ]
    return found


def test_running_requests_get_the_time_that_they_take() -> None:
    assert float(value("TimeoutStopSec=")) > options.load().graceful_timeout + 10


def test_it_says_itself_when_it_serves_and_waits_for_its_database() -> None:
    assert (value("Type="), value("NotifyAccess=")) == ("notify", "main")
    assert value("TimeoutStartSec=") == "infinity"
    assert value("ExecStart=").endswith(" api")
    assert value("ExecReload=") == "/bin/kill -HUP $MAINPID"


def test_it_has_no_rights_that_it_does_not_need() -> None:
    assert value("CapabilityBoundingSet=") == ""
    assert value("NoNewPrivileges=") == "yes"
    assert value("StateDirectoryMode=") == "0700"
