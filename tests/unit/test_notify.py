"""What the service manager hears, and when the watchdog is fed."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.notified import Manager
from worker.health.notify import Notifier
from worker.health.watchdog import Judgement, Signs, Watchdog
from worker.model.ids import new_uuid


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest) -> Iterator[Manager]:
    with TemporaryDirectory() as folder:
        path = str(Path(folder) / "n")
        address = path if request.param == "path" else f"@blockworker-{new_uuid()}"
        with Manager(address) as found:
            yield found


def notifier(found: Manager, watchdog: float | None = None) -> Notifier:
    return Notifier.taken_from(found.environment(watchdog))


def test_each_word_is_systemds(manager: Manager) -> None:
    told = notifier(manager)
    told.ready("serving")
    told.reloading()
    told.stopping("ending")
    told.status("a word")
    told.alive()
    ready, reloading, stopping, status, alive = (manager.hear(1.0) for _ in range(5))
    assert ready == {"READY": "1", "STATUS": "serving"}
    assert reloading is not None
    assert reloading["RELOADING"] == "1"
    assert 0 <= time.monotonic_ns() // 1000 - int(reloading["MONOTONIC_USEC"]) < 60_000_000
    assert stopping == {"STOPPING": "1", "STATUS": "ending"}
    assert (status, alive) == ({"STATUS": "a word"}, {"WATCHDOG": "1"})


def test_what_was_for_us_is_taken_from_children() -> None:
    environment = {"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "1500000", "PATH": "/bin"}
    environment["WATCHDOG_PID"] = str(os.getpid())
    assert Notifier.taken_from(environment).watchdog == 1.5
    assert environment == {"PATH": "/bin"}


@pytest.mark.parametrize(
    "environment",
    [{}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}],
)
def test_without_a_watchdog_of_ours_there_is_none(environment: dict[str, str]) -> None:
    assert Notifier.taken_from(environment).watchdog is None


def test_nobody_to_tell_is_no_error(tmp_path: Path) -> None:
    Notifier(None).ready("x")
    Notifier(str(tmp_path / "nobody")).ready("x")


@dataclass
class Asked:
    """Signs that a test sets."""

    listening: bool = True
    unheard: float = 0.0
    late: int = 0
    patience: float = 0.05
    judge: Judgement = field(init=False)

    def __post_init__(self) -> None:
        self.judge = Judgement(self._signs, lambda: self.patience)

    def _signs(self) -> Signs:
        return Signs(listening=self.listening, unheard=self.unheard, threads=2, late=self.late)


@pytest.fixture
def asked() -> Asked:
    return Asked()


def test_all_well_is_no_reason(asked: Asked) -> None:
    time.sleep(0.1)
    assert asked.judge() is None


def test_a_connection_that_swallows_is_a_reason_after_a_while(asked: Asked) -> None:
    asked.unheard = 0.04
    time.sleep(0.1)
    assert asked.judge() is None
    asked.unheard = 0.2
    assert "did not come back" in (asked.judge() or "")


def test_a_part_that_is_away_is_no_reason_and_gets_its_time_when_it_is_back(asked: Asked) -> None:
    asked.patience = 0.3
    asked.unheard, asked.listening = 1000.0, False
    time.sleep(0.4)
    assert asked.judge() is None
    asked.listening = True
    assert asked.judge() is None
    time.sleep(0.4)
    assert asked.judge() is not None


def test_one_thread_that_is_not_late_is_enough(asked: Asked) -> None:
    asked.late = 1
    assert asked.judge() is None
    asked.late = 2
    asked.listening = False
    assert "all 2 threads" in (asked.judge() or "")


def test_the_watchdog_is_fed_while_there_is_no_reason_and_says_so(
    manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    reasons: list[str] = []
    told = notifier(manager, watchdog=0.2)
    watchdog = Watchdog(told, lambda: reasons[-1] if reasons else None, "well")
    watchdog.start()
    try:
        manager.wait_for("WATCHDOG")
        reasons.append("it hangs")
        assert manager.wait_for("STATUS")["STATUS"] == "watchdog not fed: it hangs"
        assert manager.silent_for("WATCHDOG", 0.5)
        reasons.clear()
        manager.wait_for("WATCHDOG")
        assert manager.wait_for("STATUS")["STATUS"] == "well"
    finally:
        watchdog.stop()
    critical = [each for each in caplog.records if each.levelname == "CRITICAL"]
    assert [each.getMessage() for each in critical] == ["watchdog not fed: reason=it hangs"]


def test_no_watchdog_is_not_fed(manager: Manager) -> None:
    watchdog = Watchdog(notifier(manager), lambda: None, "well")
    watchdog.start()
    watchdog.stop()
    assert manager.hear(0.1) is None
