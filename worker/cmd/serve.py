"""blockworker serve: the worker."""

import argparse
import faulthandler
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from types import FrameType
from typing import NoReturn, Protocol

from oslo_config import cfg
from oslo_log import log

from worker import wiring
from worker.cmd import asking, options
from worker.cmd.commands import Subcommand, add_command
from worker.conf.reload import adopt, said
from worker.health.notify import Notifier
from worker.health.watchdog import Watchdog

LOG = logging.getLogger(__name__)

LOOK = 0.2
"""Seconds after which a lost lease is seen."""

QUIET = ("alembic=WARN", "oslo_config=ERROR")
"""What these say of themselves is said here in our words, or not worth a line."""

Handler = Callable[[int, FrameType | None], object]


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    add_command(commands, Subcommand("serve", "run the worker of this host", serve))


class Service(Protocol):
    """What is served: a worker, an API, or both."""

    @property
    def lost(self) -> threading.Event:
        """Set when it has to end, whatever runs."""

    def start(self) -> None:
        """Serve; may wait for as long as it takes."""

    def stop(self) -> None:
        """Take no more, and let what runs end."""

    def unfit(self) -> str | None:
        """Return what only a start can mend; None while there is no such thing."""


def serve(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; what is not done by then is taken up at the next start."""
    return run(arguments, wiring.Worker)


def run(arguments: argparse.Namespace, make: Callable[[cfg.ConfigOpts], Service]) -> int:
    """Serve what is made of the configuration until SIGTERM or SIGINT.

    SIGHUP reads the configuration again, and takes over what may change meanwhile.
    """
    signals: SimpleQueue[int] = SimpleQueue()
    # Before anything else: the default action of SIGHUP is to end the process.
    signal.signal(signal.SIGHUP, lambda number, _: signals.put(number))
    notifier = Notifier.taken_from(os.environ)
    conf = options.read(arguments)
    log.set_defaults(default_log_levels=[*log.get_default_log_levels(), *QUIET])
    log.setup(conf, "blockworker")
    # The watchdog ends with SIGABRT, whose traces of all threads say where they hang.
    faulthandler.enable()
    service = make(conf)
    try:
        _serve(service, notifier, signals, lambda: reload(conf, arguments))
    except KeyboardInterrupt:
        LOG.info("stopped before it served")
    status = asking.FAILED if service.lost.is_set() else asking.DONE
    _end_at_once(status)


def reload(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    """Take over what may change at run time; files with anything wrong in them change nothing."""
    try:
        changes = adopt(conf, options.read(arguments))
    except (cfg.Error, OSError) as error:
        text = said(error) if isinstance(error, cfg.Error) else str(error)
        line = " ".join(text.split())
        LOG.error("configuration not reloaded, nothing is changed: error=%s", line)  # noqa: TRY400 - the line says all
        return
    for change in changes:
        if change.mutable:
            LOG.info("option changed: %s old=%s new=%s", change.option, change.old, change.new)
        else:
            LOG.warning("option changed, takes effect at the next start: %s", change.option)
    LOG.info("configuration reloaded: changes=%d", len(changes))


def _serve(
    service: Service, notifier: Notifier, signals: SimpleQueue[int], reload: Callable[[], None]
) -> None:
    # A start may wait for the database for ever, so that it is interrupted and not just told.
    _on_stop(signal.default_int_handler)
    try:
        service.start()
        # What start-up has made stays: the collector need not go through it time and again.
        gc.freeze()
        _on_stop(lambda number, _: signals.put(number))
        _until_stopped(service, notifier, signals, reload)
    finally:
        notifier.stopping("letting running operations end; 'blockworker drain' shows them")
        service.stop()


def _until_stopped(
    service: Service, notifier: Notifier, signals: SimpleQueue[int], reload: Callable[[], None]
) -> None:
    watchdog = Watchdog(notifier, service.unfit, SERVING)
    notifier.ready(SERVING)
    watchdog.start()
    try:
        while not service.lost.is_set():
            match _next(signals):
                case None:
                    continue
                case signal.SIGHUP:
                    notifier.reloading()
                    reload()
                    notifier.ready(SERVING)
                case _:
                    return
    finally:
        watchdog.stop()


def _next(signals: SimpleQueue[int]) -> int | None:
    try:
        return signals.get(timeout=LOOK)
    except Empty:
        return None


def _on_stop(handler: Handler) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def _end_at_once(status: int) -> NoReturn:
    """Leave while threads run that Python would wait for, however long.

    Those of operations that did not end in time, and of oslo.messaging, which tries for ever to
    send an answer to a broker that is gone.
    """
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)


SERVING = "serving; 'blockworker operation list' shows the operations"
