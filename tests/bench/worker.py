"""The worker that is measured: a process of its own, and what the kernel says of it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.instant import URI
from tests.processes import configure
from worker.errors import WorkerError
from worker.rpc.bus import BusSettings
from worker.rpc.client import Client

PATIENCE = 60.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process that the bench started."""

    pid: int

    def cpu(self) -> float:
        """Return the seconds of CPU that it has used, ended threads included."""
        return sum(self.split())

    def split(self) -> tuple[float, float]:
        """Return the same in two: in itself, and in the kernel for it."""
        line = Path(f"/proc/{self.pid}/stat").read_text()
        user, system = line.rpartition(")")[2].split()[11:13]
        return int(user) / TICKS, int(system) / TICKS

    def memory(self) -> tuple[float, float]:
        """Return its resident set in MiB: now, and at most."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        said = dict(line.split(":", 1) for line in lines)
        now, peak = (int(said[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
        return now, peak


@contextmanager
def started(module: str, *words: str | Path, output: Path) -> Iterator[Process]:
    """Run a module as a process, and end it."""
    with output.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, words)], stdout=log, stderr=log
        )
    try:
        yield Process(pid=process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()


@contextmanager
def worker(settings: BusSettings, state: Path, instances: int = 0, *more: str) -> Iterator[Process]:
    """Run the instant worker on that bus, on SQLite in that folder; so many were built."""
    config = configure(state, URI, host=settings.host, transport_url=settings.url).config
    words: tuple[str | Path, ...] = ("--config-file", config, "--instances", str(instances), *more)
    with started("tests.bench.instant", *words, output=state / "log") as found:
        yield found


def wait_until_it_serves(client: Client, host: str) -> None:
    """Return when the worker answers a ping."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            client.ping(host)
        except WorkerError:
            time.sleep(0.02)
        else:
            return
    message = f"no worker serves {host}"
    raise AssertionError(message)
