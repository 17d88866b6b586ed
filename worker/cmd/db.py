"""blockworker db: the database's schema, and what may be forgotten."""

import argparse
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from worker import wiring
from worker.cmd import asking, options
from worker.cmd.commands import Subcommand, add_commands
from worker.cmd.output import print_json
from worker.errors import Invalid
from worker.persistence import migrate
from worker.persistence.purge import purge

LONGEST = 36500
"""Days, a century: more would name a time before the calendar's first."""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    add_commands(
        commands,
        "db",
        "the database's schema, and what may be forgotten",
        [
            Subcommand("upgrade", "bring the schema to this release", upgrade),
            Subcommand("version", "print the version that the schema is at", version),
            Subcommand("check", "compare the schema with what this release needs", check),
            Subcommand("purge", "delete what ended long enough ago", forget, _before),
        ],
    )


def upgrade(arguments: argparse.Namespace) -> int:
    """Upgrade; one that is there already stays as it is."""
    database = wiring.make_database(options.read(arguments))
    before = migrate.version(database.engine)
    migrate.upgrade(database.engine)
    _print(arguments, before=before, version=migrate.version(database.engine))
    return asking.DONE


def version(arguments: argparse.Namespace) -> int:
    """Print the version."""
    database = wiring.make_database(options.read(arguments))
    _print(arguments, version=migrate.version(database.engine))
    return asking.DONE


def check(arguments: argparse.Namespace) -> int:
    """Exit 0 if the schema fits this release, else 3 and say what to do."""
    database = wiring.make_database(options.read(arguments))
    wrong = migrate.check(database.engine)
    _print(arguments, version=migrate.version(database.engine), needed=migrate.head(), wrong=wrong)
    return asking.DONE if wrong is None else asking.FOUND


def forget(arguments: argparse.Namespace) -> int:
    """Delete what ended before the retention began; may run beside a worker."""
    conf = options.read(arguments)
    days = conf.database.retention_days if arguments.before is None else arguments.before
    database = wiring.make_database(conf)
    wrong = migrate.check(database.engine)
    if wrong is not None:
        raise Invalid(wrong)
    before = datetime.now(UTC) - timedelta(days=days)
    deleted = purge(database, before)
    _print(arguments, before=before.isoformat(timespec="seconds"), **asdict(deleted))
    return asking.DONE


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
