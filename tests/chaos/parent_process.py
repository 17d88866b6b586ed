"""``python -m tests.chaos.parent_process``: forks workers as the lines of its input say.

``{"config": FILE, "log": FILE}`` is answered with the worker's pid, ``{"reap": PID}``, of one that
has ended, with how it ended. At the end of the input all that still run are killed.
"""

import json
import os
import signal
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from tests.chaos.worker_process import serve

LOADED = (
    "kombu.transport.pyamqp",
    "oslo_messaging._drivers.impl_rabbit",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "worker.wiring.service",
)
"""What a worker loads when it comes to it."""


def main() -> None:
    """Load, and fork until the input ends."""
    for name in LOADED:
        import_module(name)
    # An interrupt from the terminal is for whoever gives the orders, and ends the input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    children: set[int] = set()
    for line in sys.stdin:
        order = json.loads(line)
        print(_reaped(children, order) if "reap" in order else _born(children, order), flush=True)
    for child in children:
        os.kill(child, signal.SIGKILL)


def _born(children: set[int], order: dict[str, str]) -> int:
    child = os.fork()
    if child == 0:
        _live(Path(order["config"]), order["log"])
    children.add(child)
    return child


def _reaped(children: set[int], order: dict[str, int]) -> int:
    children.remove(order["reap"])
    _, status = os.waitpid(order["reap"], 0)
    return os.waitstatus_to_exitcode(status)


def _live(config: Path, log: str) -> NoReturn:
    status = 1
    try:
        out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for here, there in ((nothing, 0), (out, 1), (out, 2)):
            os.dup2(here, there)
        serve(config)
        status = 0
    except BaseException:  # noqa: BLE001 - what is not said here, nobody hears
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


main()
