"""Workers forked from a process that has their code loaded: what loading takes, no start takes."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.processes import Process, Served


class Parent:
    """The process that has loaded all; any thread may ask it for a child."""

    def __init__(self, orders: IO[str], answers: IO[str]) -> None:
        self._orders = orders
        self._answers = answers
        self._lock = threading.Lock()

    def ask(self, **order: Any) -> int:  # noqa: ANN401
        """Give an order, as ``parent_process`` understands it; return the answer."""
        with self._lock:
            print(json.dumps(order), file=self._orders, flush=True)
            return int(self._answers.readline())


class Child:
    """A worker that the parent forked; a process as ``subprocess`` has it."""

    def __init__(self, parent: Parent, config: Path, log: Path) -> None:
        self._parent = parent
        self.pid = parent.ask(config=str(config), log=str(log))
        self.returncode: int | None = None
        # Good for as long as it is open, whoever gets the number of the process later.
        self._handle = os.pidfd_open(self.pid)
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Return how it ended, if it has."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return how it came; raises TimeoutExpired."""
        ended = self._ended(timeout)
        if ended is None:
            raise subprocess.TimeoutExpired(f"worker {self.pid}", timeout or 0)
        return ended

    def kill(self) -> None:
        """kill -9."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        """Send it, unless the process has ended."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._handle, number)

    def _ended(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self._handle], [], [], seconds)[0]:
            self._reap()
        return self.returncode

    def _reap(self) -> None:
        with self._lock:
            if self.returncode is None:
                self.returncode = self._parent.ask(reap=self.pid)
                os.close(self._handle)


@dataclass(kw_only=True)
class Forked(Served):
    """A worker that follows orders, forked at each start."""

    parent: Parent

    def launched(self) -> Process:
        return Child(self.parent, self.config, self.state / "serve.log")


@contextmanager
def parent() -> Iterator[Parent]:
    """Lend one; what it forked is gone afterwards."""
    command = [sys.executable, "-m", "tests.chaos.parent_process"]
    # In a group of its own: whoever ends the run from outside does not end this one first.
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Parent(process.stdin, process.stdout)
