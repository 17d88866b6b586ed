"""blockworker db: the database's schema."""

import argparse

from worker import wiring
from worker.cmd import asking, options
from worker.cmd.commands import Subcommand, add_commands
from worker.cmd.output import print_json
from worker.persistence import migrate


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    add_commands(
        commands,
        "db",
        "the database's schema",
        [
            Subcommand("upgrade", "bring the schema to this release", upgrade),
            Subcommand("version", "print the version that the schema is at", version),
            Subcommand("check", "compare the schema with what this release needs", check),
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


def _print(arguments: argparse.Namespace, **facts: str | None) -> None:
    if arguments.json:
        print_json(facts)
        return
    for name, value in facts.items():
        print(f"{name}: {value or 'none'}")
