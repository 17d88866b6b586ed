"""The command ``blockworker``."""

import argparse
import sys
from collections.abc import Sequence

from oslo_config import cfg

import worker
from worker.cmd import (
    asking,
    bus,
    config,
    db,
    dead_letter,
    device,
    drain,
    drift,
    instance,
    operation,
    serve,
    volume,
    watch,
)
from worker.cmd.demo import command as demo
from worker.conf.reload import said
from worker.errors import WorkerError

NOUNS = (
    serve,
    drain,
    demo,
    bus,
    watch,
    volume,
    instance,
    device,
    operation,
    drift,
    dead_letter,
    db,
    config,
)

EPILOG = """exit status: 0 done, 1 failed, 2 wrong usage, 3 drift or warning found
Commands reach a running worker through the socket in its state folder."""


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    arguments = parser().parse_args(words)
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


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(
        prog="blockworker",
        description="Attach and detach volumes on a libvirt host, and tell what became of it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"blockworker {worker.__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for noun in NOUNS:
        noun.add(commands)
    return top
