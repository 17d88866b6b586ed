"""On SQLite those who wait to write share a commit, and nobody shares another's failure."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import IntegrityError

from worker.errors import DatabaseUnavailable
from worker.persistence.database import Database
from worker.persistence.engine import make_engine

SOON = 10.0
WRITERS = 5


@pytest.fixture
def said() -> list[str]:
    """What SQLite was told by any connection."""
    return []


@pytest.fixture
def engine(tmp_path: Path, said: list[str]) -> Iterator[Engine]:
    made = make_engine(f"sqlite:///{tmp_path}/worker.db?timeout=0.01")
    event.listen(made, "connect", lambda opened, _entry: opened.set_trace_callback(said.append))
    with made.begin() as connection:
        connection.execute(text("CREATE TABLE written (what TEXT UNIQUE)"))
        connection.execute(
            text(
                "CREATE TABLE dangling (what TEXT REFERENCES written (what)"
                " DEFERRABLE INITIALLY DEFERRED)"
            )
        )
    yield made
    made.dispose()


@pytest.fixture
def database(engine: Engine) -> Database:
    return Database(engine, patience=0.2)


def writing(what: str) -> Callable[[Connection], str]:
    def change(connection: Connection) -> str:
        connection.execute(text("INSERT INTO written VALUES (:what)"), {"what": what})
        return what

    return change


def refusing(connection: Connection) -> str:
    connection.execute(text("INSERT INTO written VALUES ('refused')"))
    raise LookupError("this one alone")


def dangling(connection: Connection) -> None:
    """Refused when it is to be committed, and not before."""
    connection.execute(text("INSERT INTO dangling VALUES ('nothing')"))


def made_while_one_holds_on(
    database: Database, changes: list[Callable[[Connection], str]]
) -> list[str | BaseException]:
    """Return what became of the changes that came while another was under way."""
    begun, waiting = threading.Event(), threading.Semaphore(0)

    def first(_connection: Connection) -> None:
        begun.set()
        for _ in changes:
            waiting.acquire(timeout=SOON)

    def queued(change: Callable[[Connection], str]) -> str:
        timer = threading.Timer(0.2, waiting.release)
        timer.start()
        return database.write(change)

    with ThreadPoolExecutor(len(changes) + 1) as pool:
        holding = pool.submit(database.write, first)
        assert begun.wait(SOON)
        running = [pool.submit(queued, change) for change in changes]
        holding.result()
        return [each.exception() or each.result() for each in running]


def written(database: Database) -> set[str]:
    query = text("SELECT what FROM written")
    return set(database.read(lambda connection: connection.execute(query).scalars().all()))


def test_those_who_wait_share_one_commit(database: Database, said: list[str]) -> None:
    said.clear()
    names = [str(number) for number in range(WRITERS)]
    ends = made_while_one_holds_on(database, [writing(name) for name in names])
    assert ends == names
    assert written(database) == set(names)
    assert said.count("COMMIT") <= WRITERS


def test_what_fails_fails_alone(database: Database) -> None:
    names = [str(number) for number in range(WRITERS)]
    changes: list[Any] = [*map(writing, names), refusing]
    *ends, refused = made_while_one_holds_on(database, changes)
    assert ends == names
    assert isinstance(refused, LookupError)
    assert written(database) == set(names)


def test_a_commit_that_fails_is_made_again_without_its_cause(database: Database) -> None:
    names = [str(number) for number in range(WRITERS)]
    changes: list[Any] = [*map(writing, names), dangling]
    *ends, refused = made_while_one_holds_on(database, changes)
    assert ends == names
    assert isinstance(refused, IntegrityError)
    assert written(database) == set(names)


def test_a_commit_that_fails_is_nobodys(database: Database, engine: Engine) -> None:
    """Nobody is told of a commit that was not."""
    with engine.connect() as other:
        other.exec_driver_sql("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(WRITERS) as pool:
            running = [pool.submit(database.write, writing(str(n))) for n in range(WRITERS)]
            failures = [each.exception() for each in running]
        other.exec_driver_sql("ROLLBACK")
    assert all(isinstance(failure, DatabaseUnavailable) for failure in failures)
    assert written(database) == set()


def test_what_is_looked_at_in_a_draft_is_undone(database: Database) -> None:
    assert database.peek(writing("draft")) == "draft"
    assert written(database) == set()


def test_who_reads_beside_a_writer_keeps_his_connection(database: Database, engine: Engine) -> None:
    """To fetch one from the pool takes longer than most reads; the pool is for those that many."""
    fetched: list[object] = []
    event.listen(engine, "checkout", lambda opened, *_: fetched.append(opened))
    begun, over = threading.Event(), threading.Event()

    def hold_on(_connection: Connection) -> None:
        begun.set()
        over.wait(SOON)

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(database.write, hold_on)
        assert begun.wait(SOON)
        fetched.clear()
        for _ in range(WRITERS):
            assert written(database) == set()
        over.set()
        holding.result()
    assert len(fetched) == 1


def test_a_writer_does_not_wait_for_a_long_read(database: Database) -> None:
    def read_on(_connection: Connection) -> str:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(database.write, writing("meanwhile")).result(SOON)

    assert database.read(read_on) == "meanwhile"


def test_what_a_reader_keeps_holds_no_old_state(database: Database) -> None:
    """A reader that stayed in its transaction would see for ever what it saw first."""
    seen: list[set[str]] = []

    def look_beside(connection: Connection) -> None:
        with ThreadPoolExecutor(1) as pool:
            seen.append(pool.submit(written, database).result())
        writing(str(len(seen)))(connection)

    for _ in range(3):
        database.write(look_beside)
    assert seen == [set(), {"1"}, {"1", "2"}]


def test_a_connection_on_which_a_read_failed_is_not_kept(
    database: Database, engine: Engine
) -> None:
    closed: list[object] = []
    event.listen(engine, "checkin", lambda opened, _entry: closed.append(opened))

    def fail(_connection: Connection) -> None:
        raise LookupError

    def look_beside(_connection: Connection) -> None:
        with ThreadPoolExecutor(1) as pool, pytest.raises(LookupError):
            pool.submit(database.read, fail).result()

    database.write(look_beside)
    assert len(closed) == 1
