"""blockworker serve: the worker."""

import argparse
import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from oslo_log import log

from worker import wiring
from worker.cmd import asking, options
from worker.cmd.commands import Subcommand, add_command

LOG = logging.getLogger(__name__)


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    add_command(commands, Subcommand("serve", "run the worker of this host", serve))


def serve(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; what is not done by then is taken up at the next start."""
    conf = options.read(arguments)
    log.set_defaults(default_log_levels=[*log.get_default_log_levels(), "alembic=WARN"])
    log.setup(conf, "blockworker")
    worker = wiring.Worker(conf)
    try:
        _serve(worker)
    except KeyboardInterrupt:
        LOG.info("stopped before it served")
    status = asking.FAILED if worker.lost.is_set() else asking.DONE
    if worker.unended:
        _end_at_once(status)
    return status


def _serve(worker: wiring.Worker) -> None:
    # A start may wait for the database for ever, so that it is interrupted and not just told.
    _on_stop(signal.default_int_handler)
    asked_to_stop = threading.Event()
    try:
        worker.start()
        _on_stop(lambda *_: asked_to_stop.set())
        while not asked_to_stop.wait(LOOK) and not worker.lost.is_set():
            pass
    finally:
        worker.stop()


def _on_stop(handler: Callable[[int, FrameType | None], object]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def _end_at_once(status: int) -> NoReturn:
    """Leave while operations run: Python would wait for their threads, however long."""
    logging.shutdown()
    os._exit(status)


LOOK = 0.2
"""Seconds after which a lost lease is seen."""
