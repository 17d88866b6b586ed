"""The same promises on every database."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete

from tests.contract.persistence.scenes import HOST, SteppedClock
from tests.database_servers import Mariadb, Postgresql, Server, running
from worker.persistence.database import Database
from worker.persistence.engine import make_engine
from worker.persistence.migrate import upgrade
from worker.persistence.repositories import Repositories
from worker.persistence.schema import METADATA

SERVERS: dict[str, type[Server]] = {"postgresql": Postgresql, "mariadb": Mariadb}


@dataclass
class Kept:
    """A database that was upgraded once; each test finds it empty."""

    url: str
    engine: Engine
    server: Server | None


@pytest.fixture(scope="session", params=["sqlite", "postgresql", "mariadb"])
def kept(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kept]:
    if request.param == "sqlite":
        yield from _upgraded(f"sqlite:///{tmp_path_factory.mktemp('sqlite')}/worker.db", None)
        return
    with running(SERVERS[request.param]) as server:
        yield from _upgraded(server.new_database(), server)


def _upgraded(url: str, server: Server | None) -> Iterator[Kept]:
    engine = make_engine(url)
    upgrade(engine)
    yield Kept(url=url, engine=engine, server=server)
    engine.dispose()


@pytest.fixture
def url(kept: Kept) -> str:
    with kept.engine.begin() as connection:
        for table in reversed(METADATA.sorted_tables):
            connection.execute(delete(table))
    return kept.url


@pytest.fixture
def database(kept: Kept, url: str) -> Database:
    return Database(kept.engine)


@pytest.fixture
def empty_engine(kept: Kept, tmp_path: Path) -> Iterator[Engine]:
    """A database that was never upgraded."""
    new = kept.server.new_database() if kept.server else f"sqlite:///{tmp_path}/100%new.db"
    engine = make_engine(new)
    yield engine
    engine.dispose()


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def repositories(database: Database, clock: SteppedClock) -> Repositories:
    return Repositories(database, HOST, clock)
