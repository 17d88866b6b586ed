import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.persistence.scenes import HOST, SteppedClock, count
from worker.errors import WorkerBusy
from worker.persistence.database import Database
from worker.persistence.lease import Lease
from worker.persistence.schema import LEASES

HOLD_THE_FOLDER = """
import fcntl, os, sys, time
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(file, fcntl.LOCK_EX)
os.write(file, b"pid 4711")
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


def lease(
    database: Database, folder: Path, clock: SteppedClock, owner: str = "one", host: str = HOST
) -> Lease:
    return Lease(database, host, owner, folder, clock)


def crash(held: Lease) -> None:
    """The kernel drops the lock, the row stays."""
    held._unlock()  # noqa: SLF001 - what a crash does


def test_a_lease_is_taken_renewed_and_given_back(
    database: Database, folder: Path, clock: SteppedClock
) -> None:
    held = lease(database, folder, clock)
    held.acquire()
    for _ in range(3):
        clock.pass_seconds(20)
        held.renew()
    held.release()
    assert count(database, LEASES) == 0
    held.acquire()
    held.release()


def test_another_worker_of_the_state_folder_is_refused_with_the_owners_name(
    database: Database, folder: Path, clock: SteppedClock
) -> None:
    folder.mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_FOLDER, str(folder / "lock")], stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(WorkerBusy, match="pid 4711"):
            lease(database, folder, clock).acquire()
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    survivor = lease(database, folder, clock)
    survivor.acquire()
    survivor.release()


def test_another_folder_waits_until_the_lease_expires(
    database: Database, folder: Path, clock: SteppedClock, tmp_path: Path
) -> None:
    crashed = lease(database, folder, clock, owner="worker one")
    crashed.acquire()
    crash(crashed)
    other = lease(database, tmp_path / "other", clock, owner="worker two")
    clock.pass_seconds(29)
    with pytest.raises(WorkerBusy, match="worker one, for 1 s more"):
        other.acquire()
    clock.pass_seconds(1)
    other.acquire()
    other.release()


def test_the_same_folder_takes_over_at_once_after_a_crash(
    database: Database, folder: Path, clock: SteppedClock
) -> None:
    crashed = lease(database, folder, clock)
    crashed.acquire()
    crash(crashed)
    again = lease(database, folder, clock)
    again.acquire()
    again.release()


def test_a_refused_worker_leaves_its_folder_free(
    database: Database, folder: Path, clock: SteppedClock, tmp_path: Path
) -> None:
    held = lease(database, folder, clock)
    held.acquire()
    for _ in range(2):
        with pytest.raises(WorkerBusy, match="held by one"):
            lease(database, tmp_path / "other", clock).acquire()
    held.release()


def test_a_lease_that_was_lost_is_not_renewed(
    database: Database, folder: Path, clock: SteppedClock, tmp_path: Path
) -> None:
    slow = lease(database, folder, clock)
    slow.acquire()
    clock.pass_seconds(31)
    quick = lease(database, tmp_path / "other", clock, owner="worker two")
    quick.acquire()
    with pytest.raises(WorkerBusy, match="worker two"):
        slow.renew()
    slow.release()
    quick.renew()
    quick.release()


def test_a_lease_that_expired_and_nobody_took_is_renewed(
    database: Database, folder: Path, clock: SteppedClock
) -> None:
    held = lease(database, folder, clock)
    held.acquire()
    clock.pass_seconds(100)
    held.renew()
    held.release()


def test_hosts_do_not_disturb_each_other(
    database: Database, folder: Path, clock: SteppedClock, tmp_path: Path
) -> None:
    one = lease(database, folder, clock)
    other = lease(database, tmp_path / "other", clock, host="host-2")
    one.acquire()
    other.acquire()
    one.release()
    other.release()


def test_the_lock_is_not_inherited_by_children(
    database: Database, folder: Path, clock: SteppedClock
) -> None:
    held = lease(database, folder, clock)
    held.acquire()
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        held.release()
        held.acquire()
        held.release()
    finally:
        child.kill()
        child.wait()
    assert (folder / "lock").stat().st_mode & 0o777 == 0o600


def test_a_folder_whose_id_was_lost_draws_another(
    database: Database, folder: Path, clock: SteppedClock
) -> None:
    folder.mkdir()
    (folder / "id").touch()
    held = lease(database, folder, clock)
    held.acquire()
    held.release()
    assert (folder / "id").read_text()
