"""blockworker drain: stop the worker, and show what it waits for."""

import argparse
import os
import select
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from worker import wiring
from worker.cmd import asking, options
from worker.cmd.commands import Subcommand, add_command
from worker.cmd.output import print_json, say, table
from worker.errors import WorkerError, WorkerUnreachable
from worker.rpc.local import LocalClient

COLUMNS = ("operation_id", "method", "instance_uuid", "step", "since")
LOOK = 0.2
MARGIN = 15.0
"""Seconds that the worker gets beyond its own ``graceful_timeout``."""

ASKED = 5.0
"""Seconds that the worker gets to say what runs."""

MANY = 100_000
"""More operations than wait anywhere."""

Rows = Sequence[Mapping[str, Any]]


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    summary = "stop the worker: let what runs end, and show it meanwhile"
    add_command(commands, Subcommand("drain", summary, drain, _options))


def drain(arguments: argparse.Namespace) -> int:
    """Exit 0 when the worker is gone, 1 when the time is over and it still runs."""
    conf = options.read(arguments)
    timeout = arguments.timeout
    if timeout is None:
        timeout = conf.graceful_timeout + MARGIN
    pid = wiring.holder(Path(conf.state_path))
    waiting = _Waiting(LocalClient(wiring.socket_path(conf), timeout=ASKED), quiet=arguments.json)
    with _process(pid) as process:
        begun = time.monotonic()
        waiting.look()
        signal.pidfd_send_signal(process, signal.SIGTERM)
        gone = _gone(process, 0.0)
        while not gone and time.monotonic() - begun < timeout:
            waiting.look()
            gone = _gone(process, LOOK)
        found = {"pid": pid, "gone": gone, "seconds": round(time.monotonic() - begun, 3)}
    if arguments.json:
        print_json(found | {"running": waiting.running, "queued": waiting.queued})
    else:
        print(_outcome(found, waiting))
    return asking.DONE if gone else asking.FAILED


class _Waiting:
    """What the worker still does, as it says itself; the last that it said is kept."""

    def __init__(self, client: LocalClient, *, quiet: bool) -> None:
        self._client = client
        self._quiet = quiet
        self._shown: str | None = None
        self.running: Rows = ()
        self.queued = 0

    def look(self) -> None:
        """Ask, and show what has changed."""
        try:
            running = self._client.call("list_operations", state="running", limit=MANY)
            rows = [self._row(each["operation_id"]) for each in running]
            queued = len(self._client.call("list_operations", state="queued", limit=MANY))
        except WorkerUnreachable:
            return
        except WorkerError as error:
            say(f"what runs cannot be told: {error}")
            return
        self.running, self.queued = [row for row in rows if row is not None], queued
        self._show()

    def _row(self, operation: str) -> Mapping[str, Any] | None:
        found = self._client.call("get_operation", operation_id=operation)
        if found["state"] != "running":
            return None
        step: Mapping[str, Any] = next(
            (each for each in found["steps"] if each["outcome"] == "open"), {}
        )
        since = step.get("started_at") or found["started_at"]
        return {**found, "step": step.get("name"), "since": since}

    def _show(self) -> None:
        text = table(self.running, COLUMNS) if self.running else "nothing runs"
        if self.queued:
            text += f"\nqueued, for the next start: {self.queued}"
        if text != self._shown and not self._quiet:
            print(text, flush=True)
        self._shown = text


def _outcome(found: Mapping[str, Any], waiting: _Waiting) -> str:
    if not found["gone"]:
        return f"the worker (process {found['pid']}) still runs after {found['seconds']:.1f} s"
    left = len(waiting.running) + waiting.queued
    rest = f"; at most {left} operations are left to the next start" if left else ""
    return f"the worker (process {found['pid']}) is gone after {found['seconds']:.1f} s{rest}"


@contextmanager
def _process(pid: int) -> Iterator[int]:
    """Lend the process itself: a number could be another's by the time it gets the signal."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError as error:
        raise WorkerUnreachable(f"no worker runs: process {pid} is gone") from error
    try:
        yield process
    finally:
        os.close(process)


def _gone(process: int, seconds: float) -> bool:
    ended, _, _ = select.select([process], [], [], seconds)
    return bool(ended)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout",
        type=float,
        metavar="S",
        help=f"wait so many seconds (default: graceful_timeout and {MARGIN:.0f} more)",
    )
