import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.contract.persistence.scenes import HOST, SteppedClock, a_device, an_operation, reserved
from tests.database_servers import Mariadb, Postgresql, Server, running
from worker.errors import DatabaseUnavailable, Invalid
from worker.model.operation import OperationState
from worker.persistence.database import Database
from worker.persistence.engine import make_engine
from worker.persistence.migrate import upgrade, version
from worker.persistence.repositories import Repositories


@pytest.fixture(params=[Postgresql, Mariadb])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with running(request.param) as started:
        yield started


def test_a_restarted_server_loses_nothing_that_waits(server: Server, clock: SteppedClock) -> None:
    engine = make_engine(server.new_database())
    upgrade(engine)
    repositories = Repositories(Database(engine), HOST, clock)
    operation, _ = repositories.operations.accept(an_operation())
    request = repositories.for_operation(operation)
    assert request.record is not None
    request.record.start(None)
    request.record.open_step("one")
    request.updates.tell(reserved(a_device()))

    server.stop()
    request.record.close_step(1, 0.5, None)
    with pytest.raises(DatabaseUnavailable):
        request.record.open_step("two")
    with pytest.raises(DatabaseUnavailable):
        repositories.operations.get(operation.id)
    with pytest.raises(DatabaseUnavailable):
        version(engine)
    with pytest.raises(DatabaseUnavailable):
        upgrade(engine)

    server.start()
    assert request.record.open_step("two") > 1
    ended = request.record.end(OperationState.SUCCEEDED, None, None)
    assert repositories.operations.get(operation.id) == ended
    assert len(repositories.outbox.waiting(9)) == 1
    engine.dispose()


def test_a_folder_that_does_not_exist_is_an_outage(tmp_path: Path) -> None:
    database = Database(make_engine(f"sqlite:///{tmp_path}/nowhere/worker.db"))
    with pytest.raises(DatabaseUnavailable, match="unable to open"):
        database.read(lambda connection: connection.execute(text("SELECT 1")))


def test_a_database_that_stays_locked_is_an_outage(tmp_path: Path, clock: SteppedClock) -> None:
    path = tmp_path / "worker.db"
    engine = make_engine(f"sqlite:///{path}?timeout=0.01")
    upgrade(engine)
    repositories = Repositories(Database(engine, patience=0.2), HOST, clock)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailable, match="locked"):
        repositories.operations.accept(an_operation())
    assert repositories.operations.list() == ()
    other.execute("ROLLBACK")
    other.close()
    repositories.operations.accept(an_operation())
    engine.dispose()


def test_every_commit_of_sqlite_is_synced(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path}/worker.db")
    with engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    engine.dispose()


@pytest.mark.parametrize("url", ["nonsense", "oracle+nothing://x", "sqlite://", "db2://x/y"])
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(Invalid, match="database URL"):
        make_engine(url)


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgresql://u@h/d", "psycopg"),
        ("mysql://u@h/d", "pymysql"),
        ("mariadb://u@h/d", "pymysql"),
        ("mysql+pymysql://u@h/d?connect_timeout=9", "pymysql"),
    ],
)
def test_a_url_without_a_driver_gets_ours(url: str, driver: str) -> None:
    assert make_engine(url).driver == driver


def test_no_parameter_shows_in_an_error(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path}/worker.db")
    with engine.connect() as connection, pytest.raises(Exception, match="nowhere") as caught:
        connection.execute(text("SELECT * FROM nowhere WHERE a = :a"), {"a": "hunter2"})
    assert "hunter2" not in str(caught.value)
    engine.dispose()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:sesame-7391@h:port/x",
        "foo://u:sesame-7391@h/x",
        "u:sesame-7391",
        "sqlite://",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(Invalid) as caught:
        make_engine(url)
    assert "sesame-7391" not in str(caught.value)
