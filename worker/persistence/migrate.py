"""The schema's versions: alembic, run by us and not from a working directory."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import InterfaceError, OperationalError

from worker.errors import DatabaseUnavailable
from worker.persistence.database import said
from worker.persistence.engine import begin_writing

SCRIPTS = Path(__file__).parent / "migrations"


def upgrade(engine: Engine) -> None:
    """Bring the schema to this release's version; one that is there stays as it is.

    On SQLite and PostgreSQL a failed upgrade changes nothing. Raises DatabaseUnavailable.
    """
    try:
        with engine.begin() as connection:
            begin_writing(connection)
            command.upgrade(_config(connection), "head")
    except (OperationalError, InterfaceError) as error:
        raise DatabaseUnavailable(f"the schema was not upgraded: {said(error)}") from error


def version(engine: Engine) -> str | None:
    """Return the version of the schema; None for an empty database."""
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    except (OperationalError, InterfaceError) as error:
        raise DatabaseUnavailable(f"the database does not answer: {said(error)}") from error


def head() -> str:
    """Return the version that this release needs."""
    revision = ScriptDirectory.from_config(_config(None)).get_current_head()
    if revision is None:
        raise AssertionError
    return revision


def check(engine: Engine) -> str | None:
    """Return what is wrong with the schema's version and what mends it, or None."""
    found, wanted = version(engine), head()
    if found == wanted:
        return None
    known = {one.revision for one in ScriptDirectory.from_config(_config(None)).walk_revisions()}
    if found is not None and found not in known:
        return f"the schema is at {found}, of a newer release than this one, which needs {wanted}"
    return (
        f"the schema is at {found or 'nothing'}, needed is {wanted}: run `blockworker db upgrade`"
    )


def _config(connection: Connection | None) -> Config:
    config = Config()
    # ConfigParser reads a percent sign as the start of a variable.
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
