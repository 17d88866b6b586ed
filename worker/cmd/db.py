"""blockworker db: the database's schema, and what may be forgotten."""

import argparse
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from worker import wiring
from worker.cmd import asking, options
from worker.cmd.commands import Subcommand, add_commands
from worker.cmd.output import print_json, say
from worker.errors import Invalid
from worker.persistence import migrate
from worker.persistence.database import Database
from worker.persistence.purge import purge
from worker.persistence.records.uuids import populate

LONGEST = 36500
"""Days, a century: more would name a time before the calendar's first."""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    add_commands(
        commands,
        "db",
        "the database's schema, and what may be forgotten",
        [
            Subcommand("upgrade", "bring the schema to this release", upgrade, _contract),
            Subcommand("version", "print the version that the schema is at", version),
            Subcommand("check", "compare the schema with what this release needs", check),
            Subcommand(
                "populate-uuids",
                "give each row of an older release its uuid",
                populate_uuids,
                _max_count,
            ),
            Subcommand("purge", "delete what ended long enough ago", forget, _before),
        ],
    )


def upgrade(arguments: argparse.Namespace) -> int:
    """Upgrade; one that is there already stays as it is."""
    database = wiring.make_database(options.read(arguments))
    before = migrate.version(database.engine)
    migrate.upgrade(database.engine, contract=arguments.contract)
    _print(arguments, before=before, **_versions(database))
    return asking.DONE


def version(arguments: argparse.Namespace) -> int:
    """Print the version."""
    database = wiring.make_database(options.read(arguments))
    _print(arguments, **_versions(database))
    return asking.DONE


def check(arguments: argparse.Namespace) -> int:
    """Exit 0 if the schema fits this release, else 3 and say what to do."""
    database = wiring.make_database(options.read(arguments))
    wrong = migrate.check(database.engine)
    _print(arguments, **_versions(database), needed=migrate.head(), wrong=wrong)
    return asking.DONE if wrong is None else asking.FOUND


def forget(arguments: argparse.Namespace) -> int:
    """Delete what ended before the retention began; may run beside a worker."""
    conf = options.read(arguments)
    days = conf.database.retention_days if arguments.before is None else arguments.before
    database = wiring.make_database(conf)
    _check_schema(database)
    before = datetime.now(UTC) - timedelta(days=days)
    deleted = purge(database, before)
    _print(arguments, before=before.isoformat(timespec="seconds"), **asdict(deleted))
    return asking.DONE


def populate_uuids(arguments: argparse.Namespace) -> int:
    """Fill what readers have not filled yet; exit 3 while some is left."""
    database = wiring.make_database(options.read(arguments))
    _check_schema(database)
    populated = populate(database, at_most=arguments.max_count, tell=_Progress())
    _print(arguments, **asdict(populated))
    return asking.FOUND if populated.left else asking.DONE


class _Progress:
    """Says every two seconds how far it is, so that a short run says nothing."""

    def __init__(self) -> None:
        self._due = time.monotonic() + asking.PATIENCE

    def __call__(self, done: int, found: int) -> None:
        if time.monotonic() >= self._due:
            say(f"{done} of {found} rows have their uuid now")
            self._due = time.monotonic() + asking.PATIENCE


def _check_schema(database: Database) -> None:
    wrong = migrate.check(database.engine)
    if wrong is not None:
        raise Invalid(wrong)


def _versions(database: Database) -> dict[str, str | None]:
    engine = database.engine
    return {"version": migrate.version(engine), "contract": migrate.contracted(engine)}


def _contract(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--contract",
        action="store_true",
        help="also take away what only older releases need; none of them may run any more",
    )


def _max_count(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-count",
        metavar="N",
        type=_positive,
        help="stop after N rows, and exit 3 if some are left (default: all)",
    )


def _positive(text: str) -> int:
    """Read a number of rows; argparse's own error if it is none."""
    number = int(text)
    if number < 1:
        message = f"{number} is less than 1"
        raise argparse.ArgumentTypeError(message)
    return number


def _before(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--before",
        metavar="DAYS",
        type=_days,
        help="delete what ended more than DAYS ago (default: [database] retention_days)",
    )


def _days(text: str) -> int:
    """Read a number of days; argparse's own error if it is none."""
    days = int(text)
    if not 0 <= days <= LONGEST:
        message = f"{days} is not between 0 and {LONGEST}"
        raise argparse.ArgumentTypeError(message)
    return days


def _print(arguments: argparse.Namespace, **facts: str | int | None) -> None:
    if arguments.json:
        print_json(facts)
        return
    for name, value in facts.items():
        print(f"{name}: {'none' if value is None else value}")
