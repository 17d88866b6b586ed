"""blockworker serve: the worker."""

import argparse
import signal
import threading

from oslo_log import log

from worker import wiring
from worker.cmd import asking, options
from worker.cmd.commands import Subcommand, add_command


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    add_command(commands, Subcommand("serve", "run the worker of this host", serve))


def serve(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; what is not done by then is taken up at the next start."""
    conf = options.read(arguments)
    log.set_defaults(default_log_levels=[*log.get_default_log_levels(), "alembic=WARN"])
    log.setup(conf, "blockworker")
    asked_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked_to_stop.set())
    worker = wiring.Worker(conf)
    worker.start()
    try:
        while not asked_to_stop.wait(LOOK) and not worker.lost.is_set():
            pass
    finally:
        worker.stop()
    return asking.FAILED if worker.lost.is_set() else asking.DONE


LOOK = 0.2
"""Seconds after which a lost lease is seen."""
