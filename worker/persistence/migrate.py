"""The schema's versions: alembic, run by us and not from a working directory.

Two branches, which both go on: steps that *expand* are what a release needs and what older ones
can live with; those that *contract* take away what only older releases used (ADR 14). Which of the
two a step of another release is, its name says: 0004 expands, c0002 contracts.
"""

import re
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, OperationalError

from worker.errors import Conflict, DatabaseUnavailable
from worker.persistence.database import said
from worker.persistence.engine import begin_writing
from worker.persistence.records.uuids import count_empty
from worker.persistence.schema import BLOCK_DEVICES

SCRIPTS = Path(__file__).parent / "migrations"

CONTRACT = "contract"
"""The label of the branch whose steps are taken only when asked for."""

_EXPANDS = re.compile(r"\d{4}")
_CONTRACTS = re.compile(r"c\d{4}")

_MENDS = "run `blockworker db populate-uuids`, then this again"


def upgrade(engine: Engine, *, contract: bool = False) -> None:
    """Bring the schema to this release's version; one that is there stays as it is.

    One that a newer release has expanded stays as it is too. With ``contract`` it takes the steps
    that no older release's worker can live with; raises Conflict, and changes nothing, while a row
    is in their way. So it does for what another release is to upgrade. On SQLite and PostgreSQL a
    failed upgrade changes nothing. Raises DatabaseUnavailable.
    """
    kept = _kept(engine)
    if _is_ahead(kept) and not contract:
        return
    _check_no_step_is_anothers(kept)
    try:
        with engine.begin() as connection:
            begin_writing(connection)
            if contract:
                _check_no_row_is_empty(connection)
            command.upgrade(_config(connection), head())
            if contract:
                _contract(connection)
    except (OperationalError, InterfaceError) as error:
        raise DatabaseUnavailable(f"the schema was not upgraded: {said(error)}") from error


def version(engine: Engine) -> str | None:
    """Return the version that the schema was expanded to; None for an empty database."""
    return "+".join(sorted(step for step in _kept(engine) if not _contracts(step))) or None


def contracted(engine: Engine) -> str | None:
    """Return the last step of those that contract, or None if none was taken."""
    return "+".join(filter(_contracts, sorted(_kept(engine)))) or None


def head() -> str:
    """Return the version that this release needs."""
    return _head(contract=False)


def contract_head() -> str:
    """Return the last step of those that contract; this release works with it and without."""
    return _head(contract=True)


def check(engine: Engine) -> str | None:
    """Return what is wrong with the schema's version and what mends it, or None.

    A schema that a newer release has expanded will do; one that it contracted will not.
    """
    kept, needed = _kept(engine), head()
    expanded = "+".join(sorted(step for step in kept if not _contracts(step)))
    unknown = sorted(filter(_contracts, kept - _revisions(contract=True)))
    if unknown:
        took = f"the schema was contracted to {unknown[0]} by a newer release"
        return f"{took}, which took away what this one needs: run a newer one"
    if expanded == needed or _is_ahead(kept):
        return None
    known = not expanded or expanded in _revisions(contract=False)
    if known:
        found = expanded or "nothing"
        return f"the schema is at {found}, needed is {needed}: run `blockworker db upgrade`"
    return f"the schema is at {expanded}, which is no step of this release, which needs {needed}"


def _is_ahead(kept: set[str]) -> bool:
    """Tell whether a newer release has expanded the schema: by a later step than any of ours."""
    expanded = [step for step in kept if not _contracts(step)]
    return len(expanded) == 1 and bool(_EXPANDS.fullmatch(expanded[0])) and expanded[0] > head()


def _contracts(step: str) -> bool:
    return _CONTRACTS.fullmatch(step) is not None


def _check_no_step_is_anothers(kept: set[str]) -> None:
    others = sorted(kept - _revisions(contract=False) - _revisions(contract=True))
    if others:
        message = f"the schema is at {'+'.join(others)}, of another release: have that upgrade it"
        raise Conflict(message)


def _check_no_row_is_empty(connection: Connection) -> None:
    """Look before anything is changed: MariaDB takes no change of a table back."""
    empty = count_empty(connection) if inspect(connection).has_table(BLOCK_DEVICES.name) else 0
    if empty:
        rows = "row has" if empty == 1 else "rows have"
        message = f"{empty} {rows} no uuid, so nothing was changed; {_MENDS}"
        raise Conflict(message)


def _contract(connection: Connection) -> None:
    try:
        command.upgrade(_config(connection), contract_head())
    except (IntegrityError, DataError) as error:
        message = f"a row without a uuid was written meanwhile, by an older release; {_MENDS}"
        raise Conflict(message) from error


def _kept(engine: Engine) -> set[str]:
    """Return the last step of each branch as the database has it."""
    try:
        with engine.connect() as connection:
            return set(MigrationContext.configure(connection).get_current_heads())
    except (OperationalError, InterfaceError) as error:
        raise DatabaseUnavailable(f"the database does not answer: {said(error)}") from error


def _head(*, contract: bool) -> str:
    scripts = ScriptDirectory.from_config(_config(None))
    (found,) = set(scripts.get_heads()) & _revisions(contract=contract)
    return found


def _revisions(*, contract: bool) -> set[str]:
    steps = ScriptDirectory.from_config(_config(None)).walk_revisions()
    return {step.revision for step in steps if (CONTRACT in step.branch_labels) is contract}


def _config(connection: Connection | None) -> Config:
    config = Config()
    # ConfigParser reads a percent sign as the start of a variable.
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
