"""No secret at rest: the journal of a real database, and the host's key."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import MetaData

from tests.contract.persistence.scenes import an_operation
from worker.errors import Invalid, OperationConflict, SecretLost
from worker.model.operation import Operation, OperationState
from worker.model.secret import BLANK, SEALED, Secret
from worker.persistence.database import Database
from worker.persistence.journal.seals import HostSeals, host_key
from worker.persistence.repositories import Repositories

PASSWORD = "sesame-open-7391"


@pytest.fixture
def seals(tmp_path: Path) -> HostSeals:
    return HostSeals(tmp_path / "host.key")


def rescue(seals: HostSeals, operation: Operation, password: str = PASSWORD) -> Operation:
    sealed = seals.seal(operation.id, "rescue_password", Secret(password))
    return replace(operation, arguments={"rescue_password": {SEALED: sealed}})


def everything(database: Database) -> str:
    """Return each row of each table as text."""
    tables = MetaData()
    tables.reflect(database.engine)
    with database.engine.connect() as connection:
        rows = [connection.execute(table.select()).all() for table in tables.sorted_tables]
    return repr(rows)


def test_no_row_holds_it_while_it_waits_nor_after(
    repositories: Repositories, seals: HostSeals, database: Database
) -> None:
    kept, _ = repositories.operations.accept(rescue(seals, an_operation()))
    assert PASSWORD not in everything(database)
    sealed = kept.arguments["rescue_password"][SEALED]
    assert seals.open(kept.id, "rescue_password", sealed).reveal() == PASSWORD

    record = repositories.for_operation(kept).record
    assert record is not None
    record.end(OperationState.SUCCEEDED, None, None)
    assert repositories.operations.get(kept.id).arguments == {"rescue_password": BLANK}
    assert sealed not in everything(database)


def test_an_abandoned_operation_loses_it(repositories: Repositories, seals: HostSeals) -> None:
    kept, _ = repositories.operations.accept(rescue(seals, an_operation()))
    request = repositories.for_operation(kept)
    assert request.record is not None
    request.record.end(OperationState.STUCK, None, None)
    assert repositories.operations.get(kept.id).arguments == kept.arguments

    abandoned = repositories.for_call().stuck.abandon(kept.id, None)
    assert abandoned.arguments == {"rescue_password": BLANK}


def test_a_second_delivery_compares_equal_and_another_secret_does_not(
    repositories: Repositories, seals: HostSeals
) -> None:
    operation = an_operation()
    kept, _ = repositories.operations.accept(rescue(seals, operation))
    assert repositories.operations.accept(rescue(seals, operation)) == (kept, False)
    with pytest.raises(OperationConflict):
        repositories.operations.accept(rescue(seals, operation, "another"))


def test_the_key_is_the_workers_alone_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "host.key"
    key = host_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert host_key(path) == key
    assert host_key(tmp_path / "another.key") != key


def test_a_key_that_others_may_read_or_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "host.key"
    host_key(path)
    path.chmod(0o640)
    with pytest.raises(Invalid, match="chmod"):
        host_key(path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(Invalid, match="damaged"):
        host_key(path)


def test_what_was_sealed_for_another_argument_operation_or_host_is_lost(
    seals: HostSeals, tmp_path: Path
) -> None:
    here, there = an_operation().id, an_operation().id
    sealed = seals.seal(here, "rescue_password", Secret(PASSWORD))
    for reader, operation, name in (
        (seals, there, "rescue_password"),
        (seals, here, "other"),
        (HostSeals(tmp_path / "new.key"), here, "rescue_password"),
    ):
        with pytest.raises(SecretLost) as caught:
            reader.open(operation, name, sealed)
        assert PASSWORD not in str(caught.value)
