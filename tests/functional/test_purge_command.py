"""``blockworker db purge``, beside a worker's database."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.contract.persistence.scenes import (
    SteppedClock,
    a_device,
    an_operation,
    released,
    reserved,
)
from tests.processes import blockworker
from worker.model.connection import Connection
from worker.model.operation import OperationState
from worker.persistence.database import Database
from worker.persistence.engine import make_engine
from worker.persistence.migrate import upgrade
from worker.persistence.repositories import Repositories


@pytest.fixture
def clock() -> SteppedClock:
    found = SteppedClock()
    found.at = datetime.now(UTC) - timedelta(days=40)
    return found


@pytest.fixture
def repositories(tmp_path: Path, clock: SteppedClock) -> Iterator[Repositories]:
    """The database of a worker that lived 40 days ago."""
    database = Database(make_engine(f"sqlite:///{tmp_path}/blockworker.sqlite"))
    upgrade(database.engine)
    yield Repositories(database, "host-1", clock)
    database.close()


def remove(repositories: Repositories, *, connected: bool = False) -> None:
    call, device = repositories.for_call(), a_device()
    call.devices.insert(device, reserved(device))
    call.devices.release(device, released(device))
    if connected:
        call.connections.put(device, Connection(protocol="local", properties={}))
    call.unit.commit()


def end(repositories: Repositories, state: OperationState) -> None:
    operation, _ = repositories.operations.accept(an_operation())
    record = repositories.for_operation(operation).record
    assert record is not None
    record.end(state, None, None)


def test_what_is_older_than_the_retention_goes_and_the_rest_stays(
    repositories: Repositories, clock: SteppedClock, tmp_path: Path
) -> None:
    for connected in (False, True):
        remove(repositories, connected=connected)
    for state in (OperationState.SUCCEEDED, OperationState.STUCK):
        end(repositories, state)
    clock.pass_seconds(timedelta(days=20).total_seconds())
    end(repositories, OperationState.FAILED)

    done = blockworker("db", "purge", "--json", "--state-path", tmp_path)

    found = json.loads(done.stdout)
    before = datetime.fromisoformat(found.pop("before"))
    assert timedelta(days=30) <= datetime.now(UTC) - before < timedelta(days=30, minutes=1)
    assert found == {
        "block_devices": 1,
        "peripherals": 0,
        "instances": 0,
        "operations": 1,
        "updates": 0,
    }
    left = {operation.state for operation in repositories.operations.list()}
    assert left == {OperationState.STUCK, OperationState.FAILED}


def test_the_days_may_be_given_and_the_option_says_them_otherwise(
    repositories: Repositories, tmp_path: Path
) -> None:
    end(repositories, OperationState.FAILED)
    config = tmp_path / "worker.conf"
    config.write_text("[database]\nretention_days = 50\n")
    words = ("db", "purge", "--state-path", tmp_path, "--config-file", config)
    assert "operations: 0" in blockworker(*words).stdout.splitlines()
    assert "operations: 1" in blockworker(*words, "--before", "10").stdout.splitlines()


@pytest.mark.parametrize("days", ["-1", "soon", "99999999999"])
def test_days_that_are_none_are_wrong_usage(tmp_path: Path, days: str) -> None:
    done = blockworker("db", "purge", f"--before={days}", "--state-path", tmp_path)
    assert (done.returncode, "--before" in done.stderr) == (2, True)


def test_a_database_without_our_schema_is_left_alone(tmp_path: Path) -> None:
    done = blockworker("db", "purge", "--state-path", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "db upgrade" in done.stderr
