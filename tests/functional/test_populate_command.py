"""``blockworker db populate-uuids`` and ``db upgrade --contract``, beside a worker's database."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.contract.persistence.old_rows import a_removed_row, an_old_row, uuids, write
from worker.cmd import asking
from worker.cmd.main import main
from worker.persistence.engine import make_engine
from worker.persistence.migrate import upgrade


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """The database of a worker, with rows that an older release wrote."""
    found = make_engine(f"sqlite:///{tmp_path}/blockworker.sqlite")
    upgrade(found)
    write(found, an_old_row(), a_removed_row(), an_old_row())
    yield found
    found.dispose()


@dataclass(frozen=True, kw_only=True)
class Done:
    status: int
    out: str
    err: str

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.out)[name]


Db = Callable[..., Done]


@pytest.fixture
def db(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Db:
    """Run ``blockworker db``, without a process of its own."""

    def run(*words: str) -> Done:
        try:
            status = main(["db", *words, "--state-path", str(tmp_path)])
        except SystemExit as end:
            status = int(end.code or 0)
        printed = capsys.readouterr()
        return Done(status=status, out=printed.out, err=printed.err)

    return run


def test_not_null_is_refused_until_every_row_was_filled(engine: Engine, db: Db) -> None:
    refused = db("upgrade", "--contract")
    assert (refused.status, refused.out) == (1, "")
    assert "3 rows have no uuid" in refused.err
    assert "blockworker db populate-uuids" in refused.err

    some = db("populate-uuids", "--max-count", "2", "--json")
    assert (some.status, json.loads(some.out)) == (3, {"found": 3, "done": 2, "left": 1})
    rest = db("populate-uuids")
    assert (rest.status, rest.out) == (0, "found: 1\ndone: 1\nleft: 0\n")
    assert all(uuids(engine).values())

    assert db("check", "--json")["contract"] is None
    done = db("upgrade", "--contract", "--json")
    assert (done.status, done["contract"], done["version"]) == (0, "c0001", done["before"])
    assert (db("check").status, db("version", "--json")["contract"]) == (0, "c0001")


@pytest.mark.usefixtures("engine")
def test_a_long_run_says_how_far_it_is(db: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PATIENCE", 0.0)
    assert "3 of 3 rows have their uuid now" in db("populate-uuids").err


@pytest.mark.parametrize("number", ["0", "-3", "all"])
def test_a_number_that_is_none_is_wrong_usage(db: Db, number: str) -> None:
    done = db("populate-uuids", f"--max-count={number}")
    assert (done.status, "--max-count" in done.err) == (2, True)


def test_a_database_without_our_schema_is_left_alone(db: Db) -> None:
    done = db("populate-uuids")
    assert (done.status, done.out) == (1, "")
    assert "db upgrade" in done.err
