import subprocess
import sys
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, inspect, text

from worker.persistence.migrate import check, head, upgrade, version
from worker.persistence.schema import METADATA

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
    keys = inspect(empty_engine).get_unique_constraints("block_device_mapping")
    assert {tuple(key["column_names"]) for key in keys} == {
        ("uuid",),
        ("instance_uuid", "volume_id", "deleted"),
        ("instance_uuid", "device_name", "deleted"),
        ("instance_uuid", "disk_bus", "unit", "deleted"),
        ("instance_uuid", "address", "deleted"),
    }


def test_the_table_has_every_column_it_always_had(empty_engine: Engine) -> None:
    upgrade(empty_engine)
    columns = inspect(empty_engine).get_columns("block_device_mapping")
    assert {column["name"] for column in columns} >= SEED_COLUMNS
    nullable = {column["name"] for column in columns if column["nullable"]}
    assert "deleted" not in nullable


def test_a_database_of_a_newer_release_is_named_as_such(empty_engine: Engine) -> None:
    upgrade(empty_engine)
    with empty_engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert "newer release" in str(check(empty_engine))


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
