"""blockworker api: the REST tier."""

import argparse
import logging
import signal
import threading

from oslo_log import log

from worker.cmd import asking, options
from worker.cmd.commands import Subcommand, add_command
from worker.wiring.api import Api

LOG = logging.getLogger(__name__)


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands."""
    add_command(commands, Subcommand("api", "serve the REST API", serve))


def serve(arguments: argparse.Namespace) -> int:
    """Serve the API until SIGTERM or SIGINT."""
    conf = options.read(arguments)
    log.setup(conf, "blockworker")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    api = Api(conf)
    api.start()
    LOG.info("api serves: listen=%s", conf.api.listen)
    stopping.wait()
    api.stop()
    return asking.DONE
