"""The command as a user runs it: processes of its own, killed like any other."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from worker.errors import WorkerUnreachable
from worker.model.ids import new_uuid
from worker.model.operation import OperationState
from worker.rpc.local import LocalClient

START = 90.0
SOON = 60.0

Json = dict[str, Any]


def blockworker(*words: str | Path, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "worker", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


class Process(Protocol):
    """What is asked of a process, as ``subprocess.Popen`` has it."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def kill(self) -> None: ...

    def send_signal(self, number: int, /) -> None: ...


@dataclass(kw_only=True)
class Served:
    """``blockworker serve`` in a process of its own, asked through its local socket."""

    state: Path
    config: Path
    program: tuple[str, ...] = ("worker", "serve")
    process: Process | None = None
    environment: dict[str, str] = field(default_factory=dict)
    client: LocalClient = field(init=False)

    def __post_init__(self) -> None:
        self.client = LocalClient(self.state / "control.sock")

    def start(self) -> None:
        self.process = self.launched()
        deadline = time.monotonic() + START
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.client.call("ping")
            except WorkerUnreachable:
                time.sleep(0.05)
            else:
                return
        message = f"it does not serve: {self.log()}"
        raise AssertionError(message)

    def launched(self) -> Process:
        """Begin the process."""
        with (self.state / "serve.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *self.program, "--config-file", str(self.config)],
                stdout=log,
                stderr=log,
                env=os.environ | self.environment,
            )

    def log(self) -> str:
        return (self.state / "serve.log").read_text()

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; return the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SOON)

    def begin(self, method: str, **arguments: Any) -> str:  # noqa: ANN401
        """Ask for an operation; return its id once it is in the journal."""
        answer = self.client.call(method, operation_id=new_uuid(), **arguments)
        return str(answer["operation_id"])

    def end_of(self, operation: str) -> Json:
        deadline = time.monotonic() + SOON
        while time.monotonic() < deadline:
            found: Json = self.client.call("get_operation", operation_id=operation)
            if OperationState(found["state"]).ended:
                return found
            time.sleep(0.05)
        message = f"operation {operation} does not end: {found}"
        raise AssertionError(message)

    def run(self, method: str, **arguments: Any) -> Json:  # noqa: ANN401
        return self.end_of(self.begin(method, **arguments))

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run another command on the same configuration."""
        return blockworker(*words, "--config-file", self.config)

    def told(self, *words: str) -> Any:  # noqa: ANN401
        """Return what a command prints for programs."""
        done = self.command(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def configure(state: Path, uri: str, **more: str) -> Served:
    """Write a configuration and return its worker, not yet started."""
    state.mkdir(parents=True, exist_ok=True)
    lines = [f"{name} = {value}" for name, value in more.items()]
    config = state / "blockworker.conf"
    config.write_text(
        "\n".join(
            [
                "[DEFAULT]",
                f"state_path = {state}",
                *lines,
                "[hypervisor]",
                f"uri = {uri}",
                "detach_retry_interval = 0.5",
                "detach_attempts = 60",
                # Less than a test waits: a guest that has just come up may not hear its button.
                "shutdown_timeout = 20",
            ]
        )
    )
    return Served(state=state, config=config)


def running_under(folder: Path) -> list[str]:
    """Return the command lines of processes that name the folder, zombies left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(folder) in line:
            found.append(line[:200])
    return found
