"""Options that every command has, and what they are read into."""

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path

from oslo_config import cfg

from worker import conf as options

DEFAULT_FILE = Path("/etc/blockworker/blockworker.conf")

Run = Callable[[argparse.Namespace], int]
"""A command: parsed arguments in, exit status out."""


def shared(*, again: bool = False) -> argparse.ArgumentParser:
    """Return the parser of the options that every command has.

    ``again`` is for a command within one that has them too: what is not said does not count.
    """
    default = argparse.SUPPRESS if again else None
    parser = argparse.ArgumentParser(add_help=False, argument_default=default)
    parser.add_argument(
        "--config-file",
        metavar="FILE",
        type=Path,
        action="append",
        default=argparse.SUPPRESS if again else [],
        help=f"read options from FILE; may be given again (default: {DEFAULT_FILE}, if there)",
    )
    parser.add_argument(
        "--state-path", metavar="DIR", help="the worker's own folder, whatever the file says"
    )
    return parser


def printing(*, again: bool = False) -> argparse.ArgumentParser:
    """Return the parser of the option of commands that print."""
    default = argparse.SUPPRESS if again else None
    parser = argparse.ArgumentParser(add_help=False, argument_default=default)
    parser.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS if again else False,
        help="print JSON, for programs",
    )
    return parser


def files(arguments: argparse.Namespace) -> list[Path]:
    """Return the configuration files that are meant."""
    if arguments.config_file:
        return list(arguments.config_file)
    return [DEFAULT_FILE] if DEFAULT_FILE.exists() else []


def again(arguments: argparse.Namespace) -> str:
    """Return the options that have another command read the same, as a shell takes them."""
    words = [word for file in arguments.config_file for word in ("--config-file", file.absolute())]
    if arguments.state_path is not None:
        words += ["--state-path", Path(arguments.state_path).absolute()]
    return shlex.join(map(str, words))


def read(arguments: argparse.Namespace) -> cfg.ConfigOpts:
    """Read the configuration; unknown options are an error, so that a slip is not silence."""
    found = files(arguments)
    folder = arguments.state_path
    overrides = {} if folder is None else {"state_path": str(Path(folder).absolute())}
    conf = options.load(found, **overrides)
    unknown = options.unknown_options(found)
    if unknown:
        message = "unknown options (see 'blockworker config sample'):\n  " + "\n  ".join(unknown)
        raise cfg.ConfigFileValueError(message)
    return conf
