"""A worker that follows orders."""

import signal
import threading
from pathlib import Path

from oslo_log import log

from tests.chaos.trouble import Orders, Trouble
from worker import conf as options
from worker import wiring


def serve(config: Path) -> None:
    """Serve until SIGTERM, or until the orders are to die."""
    conf = options.load([config])
    log.set_defaults(default_log_levels=[*log.get_default_log_levels(), "alembic=WARN"])
    log.setup(conf, "blockworker")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    trouble = Trouble(Orders(Path(conf.state_path)))
    worker = wiring.Worker(conf, (trouble.over,))
    worker.start()
    while not stop.wait(0.2):
        pass
    worker.stop()
