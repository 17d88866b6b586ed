"""The command ``blockworker``."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from oslo_config import cfg

import worker
from worker.cmd import asking
from worker.conf.reload import said
from worker.errors import WorkerError

MODULES = {
    "serve": "serve",
    "api": "api",
    "all-in-one": "all_in_one",
    "drain": "drain",
    "demo": "demo.command",
    "call": "bus",
    "cast": "bus",
    "watch": "watch",
    "volume": "volume",
    "instance": "instance",
    "device": "device",
    "operation": "operation",
    "drift": "drift",
    "doctor": "doctor",
    "dead-letter": "dead_letter",
    "db": "db",
    "config": "config",
}
"""Which module has a command: the others need not be loaded to run it."""

EPILOG = """exit status: 0 done, 1 failed, 2 wrong usage, 3 drift or warning found
Commands reach a running worker through the socket in its state folder."""


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    given = sys.argv[1:] if words is None else words
    arguments = parser(given).parse_args(given)
    try:
        status: int = arguments.run(arguments)
    except WorkerError as error:
        print(f"blockworker: {error} [{error.code}]", file=sys.stderr)
        return asking.FAILED
    except cfg.Error as error:
        print(f"blockworker: configuration: {said(error)}", file=sys.stderr)
        return asking.WRONG_USAGE
    except KeyboardInterrupt:
        return 128 + 2
    except BrokenPipeError:
        sys.stderr.close()
        return asking.DONE
    return status


def parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser of the command that the words begin with; of all, if they name none."""
    top = argparse.ArgumentParser(
        prog="blockworker",
        description="Attach and detach volumes on a libvirt host, and tell what became of it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"blockworker {worker.__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    named = MODULES.get(words[0]) if words else None
    for module in dict.fromkeys(MODULES.values()) if named is None else (named,):
        import_module(f"worker.cmd.{module}").add(commands)
    return top
