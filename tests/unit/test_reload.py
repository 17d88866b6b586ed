"""Reading the configuration again: what changes, what waits, and what is refused."""

import argparse
import logging
from pathlib import Path

import pytest
from oslo_config import cfg

from worker import conf as options
from worker.cmd.serve import reload
from worker.conf.reload import Change, adopt, said

SECRET = "sesame-7391"


class Files:
    """A configuration file that a test writes anew."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.write("")

    def write(self, *lines: str) -> None:
        self.file.write_text("\n".join(("[DEFAULT]", "state_path = /x", "host = h", *lines)))

    def load(self) -> cfg.ConfigOpts:
        return options.load([self.file])

    def arguments(self) -> argparse.Namespace:
        return argparse.Namespace(config_file=[self.file], state_path=None)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "worker.conf")


def test_what_is_mutable_changes_and_what_is_not_waits(files: Files) -> None:
    running = files.load()
    files.write("graceful_timeout = 7", "threads = 3", "debug = true", "[health]", "interval = 2")
    changes = adopt(running, files.load())
    assert set(changes) == {
        Change(option="[DEFAULT] graceful_timeout", old=60.0, new=7.0, mutable=True),
        Change(option="[DEFAULT] threads", old=8, new=3, mutable=False),
        Change(option="[DEFAULT] debug", old=False, new=True, mutable=True),
        Change(option="[health] interval", old=10.0, new=2.0, mutable=True),
    }
    assert (running.graceful_timeout, running.health.interval, running.debug) == (7.0, 2.0, True)
    assert running.threads == 8


def test_a_value_goes_back_to_its_default_and_what_waits_is_said_again(files: Files) -> None:
    files.write("graceful_timeout = 7", "threads = 3")
    running = files.load()
    files.write("threads = 4")
    for expected in (["[DEFAULT] graceful_timeout", "[DEFAULT] threads"], ["[DEFAULT] threads"]):
        assert sorted(change.option for change in adopt(running, files.load())) == expected
    assert (running.graceful_timeout, running.threads) == (60.0, 3)


def test_secrets_are_not_shown(files: Files) -> None:
    running = files.load()
    files.write(f"transport_url = rabbit://u:{SECRET}@h/")
    (change,) = adopt(running, files.load())
    assert SECRET not in repr(change)


def test_each_change_is_a_line(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    running = files.load()
    files.write("graceful_timeout = 7", "threads = 3")
    with caplog.at_level(logging.INFO, "worker.cmd.serve"):
        reload(running, files.arguments())
    ours = [each for each in caplog.records if each.name == "worker.cmd.serve"]
    assert {(each.levelname, each.getMessage()) for each in ours[:-1]} == {
        ("INFO", "option changed: [DEFAULT] graceful_timeout old=60.0 new=7.0"),
        ("WARNING", "option changed, takes effect at the next start: [DEFAULT] threads"),
    }
    assert ours[-1].getMessage() == "configuration reloaded: changes=2"


@pytest.mark.parametrize(
    "lines",
    [
        ("graceful_timeout = 7", "slow_step = soon"),
        ("graceful_timeout = 7", "slow_stop = 3"),
        ("graceful_timeout = 7", f"no sign here: not {SECRET}", f"rabbit//u {SECRET}"),
        ("graceful_timeout = -7",),
    ],
)
def test_files_with_anything_wrong_in_them_change_nothing(
    files: Files, lines: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    running = files.load()
    files.write(*lines)
    reload(running, files.arguments())
    assert running.graceful_timeout == 60.0
    (error,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert "nothing is changed" in error.getMessage()
    assert SECRET not in caplog.text
    files.write("graceful_timeout = 8")
    reload(running, files.arguments())
    assert running.graceful_timeout == 8.0


def test_a_file_that_is_gone_changes_nothing(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    running = files.load()
    files.file.unlink()
    reload(running, files.arguments())
    assert running.graceful_timeout == 60.0
    assert "nothing is changed" in caplog.text


def test_a_line_that_cannot_be_read_is_named_by_its_number(files: Files) -> None:
    files.write(f"rabbit//u {SECRET}")
    with pytest.raises(cfg.Error) as caught:
        files.load()
    assert SECRET not in said(caught.value)
    assert "line 4" in said(caught.value)


def test_what_says_that_it_may_change_is_asked_when_it_is_used() -> None:
    mutable = {
        option.dest for _, found in options.list_opts() for option in found if option.mutable
    }
    assert mutable >= {
        "graceful_timeout",
        "slow_step",
        "operation_timeout",
        "outage_patience",
        "reservation_ttl",
        "rescue_timeout",
        "interval",
    }
