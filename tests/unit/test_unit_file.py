"""The systemd unit, as far as the worker's promises rest on it."""

from pathlib import Path

import pytest

from worker import conf as options

UNIT = Path(__file__).parents[2] / "etc" / "blockworker.service"


def value(name: str) -> str:
    (found,) = [
        line.partition("=")[2] for line in UNIT.read_text().splitlines() if line.startswith(name)
    ]
    return found


def test_guests_outlive_the_worker() -> None:
    assert value("KillMode=") == "process"
    assert value("OOMPolicy=") == "continue"


def test_the_worker_gets_the_time_that_it_takes_to_stop() -> None:
    assert float(value("TimeoutStopSec=")) > options.load().graceful_timeout + 10


def test_it_says_itself_when_it_serves_and_that_it_lives() -> None:
    assert (value("Type="), value("NotifyAccess=")) == ("notify", "main")
    assert float(value("WatchdogSec=")) > 10
    assert value("ExecReload=") == "/bin/kill -HUP $MAINPID"
    assert value("TimeoutStartSec=") == "infinity"


@pytest.mark.parametrize("word", ["PrivateTmp", "ProtectSystem", "ProtectHome", "PrivateDevices"])
def test_nothing_hides_mounts_or_devices_from_libvirt(word: str) -> None:
    assert not [line for line in UNIT.read_text().splitlines() if line.startswith(word)]
