"""A worker that follows orders."""

import signal
import threading
from collections.abc import MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import cast

from oslo_log import log

from tests.chaos.trouble import Orders, Trouble
from worker import conf as options
from worker import wiring
from worker.execution import Kind
from worker.model.method import Method
from worker.rpc.methods import OPERATIONS


def serve(config: Path) -> None:
    """Serve until SIGTERM, or until the orders are to die."""
    conf = options.load([config])
    log.set_defaults(default_log_levels=[*log.get_default_log_levels(), "alembic=WARN"])
    log.setup(conf, "blockworker")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    _open(Method.RELEASE_LAPSED_RESERVATION)
    trouble = Trouble(Orders(Path(conf.state_path)))
    worker = wiring.Worker(conf, (trouble.over,))
    worker.start()
    while not stop.wait(0.2):
        pass
    worker.stop()


def _open(method: str) -> None:
    """Have others ask for what the worker asks itself for alone: a point names its operation."""
    kinds = cast("MutableMapping[str, Kind]", OPERATIONS)
    kinds[method] = replace(kinds[method], own_only=False)
