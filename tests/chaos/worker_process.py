"""``python -m tests.chaos.worker_process --config-file FILE``: a worker that follows orders."""

import argparse
import signal
import threading
from pathlib import Path

from oslo_log import log

from tests.chaos.trouble import Orders, Trouble
from worker import conf as options
from worker import wiring


def main() -> None:
    """Serve until SIGTERM, or until the orders are to die."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config-file", type=Path, required=True)
    conf = options.load([parser.parse_args().config_file])
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


main()
