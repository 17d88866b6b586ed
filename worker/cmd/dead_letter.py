"""blockworker dead-letter: what this host could not read."""

import argparse
from dataclasses import asdict

from worker import wiring
from worker.cmd import asking, options
from worker.cmd.commands import Subcommand, add_commands
from worker.cmd.output import print_fields, print_rows
from worker.rpc.dead_letters import DeadLetter, DeadLetterBox

COLUMNS = ("position", "id", "at", "method", "code", "reason")


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    add_commands(
        commands,
        "dead-letter",
        "the messages that this host could not read",
        [
            Subcommand("list", "list the dead letters, oldest first", show_all),
            Subcommand("show", "show a dead letter, secrets masked", show, _which),
            Subcommand("replay", "send a dead letter to the worker once more", replay, _which),
            Subcommand("drop", "forget a dead letter", drop, _which),
        ],
    )


def show_all(arguments: argparse.Namespace) -> int:
    """List the dead letters."""
    rows = [asdict(letter) for letter in _box(arguments).list()]
    print_rows(rows, COLUMNS, as_json=arguments.json)
    return asking.DONE


def show(arguments: argparse.Namespace) -> int:
    """Show one."""
    print_fields(asdict(_box(arguments).show(arguments.which)), as_json=arguments.json)
    return asking.DONE


def replay(arguments: argparse.Namespace) -> int:
    """Send one again; it is dropped once the broker has it."""
    return _done(arguments, _box(arguments).replay(arguments.which), "replayed")


def drop(arguments: argparse.Namespace) -> int:
    """Forget one."""
    return _done(arguments, _box(arguments).drop(arguments.which), "dropped")


def _done(arguments: argparse.Namespace, letter: DeadLetter, what: str) -> int:
    if arguments.json:
        print_fields(asdict(letter), as_json=True)
    else:
        print(f"dead letter {letter.id} ({letter.method or 'unreadable'}) {what}")
    return asking.DONE


def _box(arguments: argparse.Namespace) -> DeadLetterBox:
    return DeadLetterBox(wiring.bus_settings(options.read(arguments)))


def _which(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("which", metavar="ID", help="its id, or its position in the list")
