"""A command with subcommands, so that each noun's file reads as a list of its verbs."""

import argparse
from collections.abc import Callable, Sequence
from typing import NamedTuple

from worker.cmd.options import Run, printing, shared


class Subcommand(NamedTuple):
    """One verb: its name, a line of help, what runs, and what adds its options."""

    name: str
    help: str
    run: Run
    options: Callable[[argparse.ArgumentParser], None] | None = None


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", command: Subcommand
) -> None:
    """Add one command, with the options that all have."""
    parser = commands.add_parser(
        command.name,
        help=command.help,
        description=f"{command.help[0].upper()}{command.help[1:]}.",
        parents=[shared(), printing()],
    )
    if command.options is not None:
        command.options(parser)
    parser.set_defaults(run=command.run)


def add_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    summary: str,
    verbs: Sequence[Subcommand],
) -> None:
    """Add a noun and its verbs."""
    noun = commands.add_parser(name, help=summary, description=f"{summary.capitalize()}.")
    inner = noun.add_subparsers(metavar="COMMAND", required=True)
    for verb in verbs:
        add_command(inner, verb)
