import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from tests.contract.persistence.old_rows import a_removed_row, an_old_row, uuids, write
from tests.contract.persistence.scenes import (
    HOST,
    START,
    SteppedClock,
    a_device,
    insert,
    released,
)
from worker.errors import Conflict
from worker.model.ids import VolumeId, new_uuid
from worker.persistence import migrate
from worker.persistence.database import Database
from worker.persistence.engine import make_engine
from worker.persistence.migrate import check, contract_head, contracted, head, upgrade, version
from worker.persistence.purge import purge
from worker.persistence.records.uuids import populate
from worker.persistence.repositories import Repositories
from worker.persistence.schema import METADATA

DEVICES = "block_device_mapping"

SEED_COLUMNS = {
    "id", "uuid", "instance_uuid", "device_name", "source_type", "destination_type",
    "guest_format", "device_type", "disk_bus", "boot_index", "volume_id", "volume_size",
    "volume_type", "snapshot_id", "image_id", "backup_id", "attachment_id", "connection_info",
    "delete_on_termination", "no_device", "tag", "created_at", "updated_at", "deleted_at",
    "deleted",
}  # fmt: skip


def test_an_empty_database_is_brought_to_the_head(empty_engine: Engine) -> None:
    assert version(empty_engine) is None
    assert "db upgrade" in str(check(empty_engine))
    upgrade(empty_engine)
    assert version(empty_engine) == head()
    assert check(empty_engine) is None


def test_an_upgrade_of_what_is_up_to_date_changes_nothing(empty_engine: Engine) -> None:
    for _ in range(2):
        upgrade(empty_engine)
    assert check(empty_engine) is None


def test_migrations_and_tables_agree(empty_engine: Engine) -> None:
    upgrade(empty_engine)
    with empty_engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_server_default": False, "compare_type": True}
        )
        assert compare_metadata(context, METADATA) == []


def test_every_unique_key_is_there(empty_engine: Engine) -> None:
    upgrade(empty_engine)
    inspector = inspect(empty_engine)
    # Some databases name a unique index as a key too, others as an index alone.
    keys = inspector.get_unique_constraints("block_device_mapping")
    indexes = inspector.get_indexes("block_device_mapping")
    unique = {tuple(one["column_names"]) for one in indexes if one["unique"]}
    assert unique | {tuple(key["column_names"]) for key in keys} == {
        ("uuid",),
        ("instance_uuid", "tag", "deleted"),
        ("instance_uuid", "volume_id", "deleted"),
        ("instance_uuid", "device_name", "deleted"),
        ("instance_uuid", "disk_bus", "unit", "deleted"),
        ("instance_uuid", "address", "deleted"),
    }


def test_every_unique_key_of_peripherals_is_there(empty_engine: Engine) -> None:
    upgrade(empty_engine)
    keys = inspect(empty_engine).get_unique_constraints("peripherals")
    assert {tuple(key["column_names"]) for key in keys} == {
        ("uuid",),
        ("instance_uuid", "port_id", "deleted"),
        ("instance_uuid", "alias", "deleted"),
        ("instance_uuid", "address", "deleted"),
        ("host", "host_device", "deleted"),
    }


def test_the_table_has_every_column_it_always_had(empty_engine: Engine) -> None:
    upgrade(empty_engine)
    columns = inspect(empty_engine).get_columns("block_device_mapping")
    assert {column["name"] for column in columns} >= SEED_COLUMNS
    nullable = {column["name"] for column in columns if column["nullable"]}
    assert "deleted" not in nullable


@pytest.mark.parametrize("step", ["0000", "later", "99999"])
def test_a_step_that_says_not_what_it_does_is_refused(empty_engine: Engine, step: str) -> None:
    upgrade(empty_engine)
    with empty_engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :step"), {"step": step})
    assert "no step of this release" in str(check(empty_engine))
    for contract in (False, True):
        with pytest.raises(Conflict, match="another release"):
            upgrade(empty_engine, contract=contract)


def test_each_step_says_by_its_name_whether_it_expands_or_contracts() -> None:
    """An older release goes by it."""
    for step in sorted((migrate.SCRIPTS / "versions").glob("*.py")):
        text_of = step.read_text()
        name = step.name.partition("_")[0]
        assert f'revision = "{name}"' in text_of
        contracts = 'down_revision = "c' in text_of or '"contract"' in text_of
        assert re.fullmatch(r"c\d{4}" if contracts else r"\d{4}", name), step


def test_no_file_of_the_working_directory_is_needed(tmp_path: Path) -> None:
    code = (
        "from worker.persistence.engine import make_engine;"
        "from worker.persistence.migrate import *;"
        "engine = make_engine('sqlite:///here.db'); upgrade(engine); assert check(engine) is None"
    )
    root = str(Path(__file__).parents[3])
    command = [sys.executable, "-W", "error", "-c", code]
    subprocess.run(command, cwd=tmp_path, check=True, env={"PYTHONPATH": root})
    assert (tmp_path / "here.db").exists()


def shape(engine: Engine) -> dict[str, object]:
    """Return what the table is made of, but for whether its uuid may be NULL."""
    found = inspect(engine)
    columns = [
        {key: str(value) for key, value in column.items()}
        | ({"nullable": "-"} if column["name"] == "uuid" else {})
        for column in found.get_columns(DEVICES)
    ]
    keys = [*found.get_unique_constraints(DEVICES), *found.get_indexes(DEVICES)]
    primary = found.get_pk_constraint(DEVICES)
    return {
        "columns": columns,
        "keys": sorted((str(key["name"]), key["column_names"]) for key in keys),
        "primary": (primary["name"], primary["constrained_columns"]),
        "options": found.get_table_options(DEVICES).get("mysql_collate"),
    }


def may_be_empty(engine: Engine) -> bool:
    columns = inspect(engine).get_columns(DEVICES)
    return next(bool(column["nullable"]) for column in columns if column["name"] == "uuid")


def use_the_table(repositories: Repositories, engine: Engine) -> None:
    """Do what a worker does with it."""
    kept, gone = (insert(repositories, a_device()) for _ in range(2))
    repositories.for_call().devices.release(gone, released(gone))
    assert repositories.for_call().devices.of_instance(kept.instance) == (kept,)
    assert purge(Database(engine), START + timedelta(days=1)).block_devices > 0


def test_not_null_waits_until_no_row_is_empty_and_then_changes_nothing_else(
    empty_engine: Engine,
) -> None:
    upgrade(empty_engine)
    repositories = Repositories(Database(empty_engine), HOST, SteppedClock())
    use_the_table(repositories, empty_engine)
    write(empty_engine, an_old_row(), a_removed_row())
    before = shape(empty_engine)

    with pytest.raises(Conflict, match=r"2 rows have no uuid.*db populate-uuids"):
        upgrade(empty_engine, contract=True)
    assert (contracted(empty_engine), check(empty_engine)) == (None, None)
    assert may_be_empty(empty_engine)

    populate(Database(empty_engine), tell=lambda _done, _found: None)
    rows = uuids(empty_engine)
    for _ in range(2):
        upgrade(empty_engine, contract=True)
        assert (version(empty_engine), contracted(empty_engine)) == (head(), contract_head())
        upgrade(empty_engine)
    assert check(empty_engine) is None
    assert not may_be_empty(empty_engine)
    assert (shape(empty_engine), uuids(empty_engine)) == (before, rows)
    with pytest.raises(DBAPIError):
        write(empty_engine, an_old_row())
    use_the_table(repositories, empty_engine)


LATER_STEP = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "{new}", "{old}", None, None


def upgrade():
    op.add_column("{table}", sa.Column("{new}", sa.Integer()))
"""


class Releases:
    """The steps of another release than this one, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        shutil.copytree(migrate.SCRIPTS, folder, dirs_exist_ok=True)
        self.steps = folder / "versions"

    def add(self, new: str, old: str) -> None:
        step = LATER_STEP.format(new=new, old=old, table=DEVICES)
        (self.steps / f"{new}_later.py").write_text(step)

    def forget(self, revision: str) -> None:
        (found,) = self.steps.glob(f"{revision}_*.py")
        found.unlink()


@pytest.fixture
def releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Releases:
    made = Releases(tmp_path / "steps")
    monkeypatch.setattr(migrate, "SCRIPTS", made.steps.parent)
    return made


def test_a_row_that_an_older_release_writes_meanwhile_stops_the_contract_step(
    empty_engine: Engine, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(empty_engine)
    write(empty_engine, an_old_row())
    releases.add("0999", head())

    def look_too_early(connection: Connection) -> None:
        if connection.dialect.name in ("mysql", "mariadb"):
            connection.execute(text("SET SESSION sql_mode = ''"))

    monkeypatch.setattr(migrate, "_check_no_row_is_empty", look_too_early)
    with pytest.raises(Conflict, match="meanwhile"):
        upgrade(empty_engine, contract=True)
    assert (contracted(empty_engine), may_be_empty(empty_engine)) == (None, True)
    assert list(uuids(empty_engine).values()) == [None]
    upgrade(empty_engine)
    assert (version(empty_engine), check(empty_engine)) == ("0999", None)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    found = make_engine(f"sqlite:///{tmp_path}/worker.db")
    yield found
    found.dispose()


@pytest.mark.parametrize("contract", [False, True])
def test_a_later_release_expands_a_schema_with_the_contract_step_and_without(
    engine: Engine, releases: Releases, *, contract: bool
) -> None:
    upgrade(engine, contract=contract)
    expanded, step = head(), contracted(engine)
    releases.add("0999", expanded)
    assert "db upgrade" in str(check(engine))
    upgrade(engine)
    assert (version(engine), contracted(engine), check(engine)) == ("0999", step, None)
    assert may_be_empty(engine) is not contract
    releases.add("c0999", contract_head())
    assert check(engine) is None
    upgrade(engine, contract=True)
    assert (version(engine), contracted(engine), check(engine)) == ("0999", "c0999", None)
    assert not may_be_empty(engine)
    for revision in ("0999", "c0999"):
        releases.forget(revision)
    assert "contracted to c0999" in str(check(engine))


@pytest.mark.parametrize("contract", [False, True])
def test_a_release_works_on_what_a_newer_one_has_expanded_and_leaves_the_rest_to_it(
    empty_engine: Engine, releases: Releases, *, contract: bool
) -> None:
    upgrade(empty_engine, contract=contract)
    step, last = contracted(empty_engine), head()
    releases.add("0998", last)
    releases.add("0999", "0998")
    upgrade(empty_engine)
    for revision in ("0999", "0998"):
        releases.forget(revision)
    assert check(empty_engine) is None
    upgrade(empty_engine)
    with pytest.raises(Conflict, match="0999, of another release"):
        upgrade(empty_engine, contract=True)
    assert (version(empty_engine), contracted(empty_engine)) == ("0999", step)
    use_the_table(Repositories(Database(empty_engine), HOST, SteppedClock()), empty_engine)


OLD_INSTANCE = """
INSERT INTO instances (uuid, host, name, vm_state, specification, deleted)
VALUES (:uuid, :host, 'old', 'stopped', '{}', 0)
"""


def test_an_instance_of_before_there_were_rescues_is_in_none(
    empty_engine: Engine, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The release before goes on with the step that it does not know, which only expands."""
    for revision in ("0010", "0009", "0008"):
        releases.forget(revision)
    upgrade(empty_engine)
    assert (version(empty_engine), check(empty_engine)) == ("0007", None)
    before, meanwhile = new_uuid(), new_uuid()
    write_instance(empty_engine, before)
    monkeypatch.undo()
    assert "db upgrade" in str(check(empty_engine))
    upgrade(empty_engine)
    assert check(empty_engine) is None
    monkeypatch.setattr(migrate, "SCRIPTS", releases.steps.parent)
    assert check(empty_engine) is None
    write_instance(empty_engine, meanwhile)
    instances = Repositories(Database(empty_engine), HOST, SteppedClock()).for_call().instances
    assert {one.uuid: one.rescue for one in instances.list()} == {before: None, meanwhile: None}
    assert instances.in_rescue() == ()


OLD_VOLUME = """
INSERT INTO pool_volumes (id, name, size, status, path) VALUES (:id, 'old', 512, 'available', :id)
"""


def test_a_volume_of_before_there_were_projects_is_an_operators(
    empty_engine: Engine, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is one that the release before makes meanwhile."""
    releases.forget("0010")
    upgrade(empty_engine)
    before, meanwhile = VolumeId(new_uuid()), VolumeId(new_uuid())
    write_volume(empty_engine, before)
    monkeypatch.undo()
    upgrade(empty_engine)
    write_volume(empty_engine, meanwhile)
    pool = Repositories(Database(empty_engine), HOST, SteppedClock()).pool
    assert {one.volume.id for one in pool.volumes()} == {before, meanwhile}
    for one in pool.volumes():
        assert (one.volume.project_id, one.host, one.created_at) == (None, None, None)
        pool.put_volume(replace(one, volume=replace(one.volume, name="kept")))
    assert {(one.volume.name, one.host) for one in pool.volumes()} == {("kept", None)}


def write_volume(engine: Engine, volume: VolumeId) -> None:
    with engine.begin() as connection:
        connection.execute(text(OLD_VOLUME), {"id": volume})


def write_instance(engine: Engine, uuid: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(OLD_INSTANCE), {"uuid": uuid, "host": HOST})


def test_a_contract_step_of_a_newer_release_is_named_as_such(
    engine: Engine, releases: Releases
) -> None:
    releases.add("c0999", contract_head())
    upgrade(engine, contract=True)
    releases.forget("c0999")
    assert "contracted to c0999 by a newer release" in str(check(engine))
    with pytest.raises(Conflict, match="c0999, of another release"):
        upgrade(engine)


def test_an_old_schema_with_empty_rows_is_not_even_expanded(
    empty_engine: Engine, releases: Releases
) -> None:
    upgrade(empty_engine)
    write(empty_engine, an_old_row())
    before = version(empty_engine), shape(empty_engine)
    releases.add("0999", head())
    with pytest.raises(Conflict, match="1 row has no uuid"):
        upgrade(empty_engine, contract=True)
    assert (version(empty_engine), shape(empty_engine)) == before
