"""``blockworker drain``: stops the worker, shows what it waits for, and leaves nothing undone."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.functional.test_service_manager import held_detach
from tests.guests import GuestMaker
from tests.processes import Served, configure
from worker.errors import WorkerUnreachable
from worker.model.ids import new_uuid


@pytest.fixture
def served(libvirtd: str, tmp_path: Path) -> Iterator[Served]:
    found = configure(tmp_path / "state", libvirtd, threads="1", graceful_timeout="60")
    found.start()
    yield found
    if found.process is not None and found.process.poll() is None:
        found.kill()


def begun(served: Served, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "worker", "drain", *words, "--config-file", str(served.config)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_an_idle_worker_is_gone_at_once(served: Served) -> None:
    done = served.command("drain")
    assert (done.returncode, "nothing runs" in done.stdout, "is gone" in done.stdout) == (
        0,
        True,
        True,
    )
    assert served.process is not None
    assert served.process.wait(1) == 0
    again = served.command("drain")
    assert (again.returncode, again.stdout) == (1, "")
    assert "no worker runs" in again.stderr


def test_it_shows_what_it_waits_for_and_the_worker_lets_it_end(
    served: Served, make_guest: GuestMaker
) -> None:
    guest, operation = held_detach(served, make_guest)
    volume = new_uuid()
    queued = served.begin("create_volume", volume_id=volume, size=1 << 20)
    draining = begun(served)
    assert draining.stdout is not None
    heads, row, count = (draining.stdout.readline() for _ in range(3))
    assert heads.split() == ["OPERATION", "ID", "METHOD", "INSTANCE", "UUID", "STEP", "SINCE"]
    assert row.split()[:4] == [operation, "detach_volume", guest.uuid, "disks.unplug"]
    assert count.startswith("queued, for the next start: ")
    # It is stopping: it says what runs, and takes nothing more.
    wait_until_it_leaves(served)
    assert served.client.call("get_operation", operation_id=operation)["state"] == "running"
    guest.domain.resume()
    printed, said = draining.communicate(timeout=60)
    assert (draining.returncode, said) == (0, "")
    assert "is gone after" in printed
    assert served.process is not None
    assert served.process.wait(5) == 0
    served.start()
    assert served.client.call("get_operation", operation_id=operation)["state"] == "succeeded"
    assert served.end_of(queued)["state"] == "succeeded"


def wait_until_it_leaves(served: Served) -> None:
    deadline = time.monotonic() + 30
    with suppress(WorkerUnreachable):
        while time.monotonic() < deadline:
            served.begin("delete_volume", volume_id=new_uuid())
            time.sleep(0.05)
    with pytest.raises(WorkerUnreachable, match="is stopping"):
        served.begin("delete_volume", volume_id=new_uuid())


def test_when_the_time_is_over_it_exits_1_and_the_worker_goes_on_stopping(
    served: Served, make_guest: GuestMaker
) -> None:
    guest, operation = held_detach(served, make_guest)
    done = served.command("drain", "--timeout", "1", "--json")
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert told["gone"] is False
    assert [each["operation_id"] for each in told["running"]] == [operation]
    guest.domain.resume()
    assert served.process is not None
    assert served.process.wait(60) == 0


def test_a_lock_that_is_stale_is_nobodys(served: Served) -> None:
    served.kill()
    done = served.command("drain")
    assert (done.returncode, "no worker runs" in done.stderr) == (1, True)
