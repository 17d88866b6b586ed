"""A real Cinder as private processes: its API, its scheduler, and a volume service a backend.

Who may do what is Cinder's own policy; its middleware asks the Keystone of ``identity``.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from keystoneauth1.exceptions import ClientException
from kombu.connection import Connection
from kombu.entity import Queue

from tests.cinder.caller import Caller
from tests.cinder.configuration import PLACE, Backend, written
from tests.cinder.database import FIRST, make_database
from tests.cinder.identity import Identity, identity_server
from tests.rings import require
from tests.services_rabbitmq import free_ports, private_rabbitmq
from worker.rpc.link import BROKER_ERRORS

PATIENCE = 120.0

API, SCHEDULER = "cinder-api", "cinder-scheduler"


@dataclass(kw_only=True)
class Cinder:
    """Its processes, a backend's by the backend's name; ``folder`` has a log for each."""

    folder: Path
    port: int
    broker: str
    identity: Identity
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    backends: dict[str, Backend] = field(default_factory=dict)
    read: int = 0
    """How much of the API's log is no news."""

    def caller(self, user: str) -> Caller:
        """Return that user's way to call it."""
        project = self.identity.project_id(user)
        url = f"http://127.0.0.1:{self.port}/v3/{project}"
        return Caller(session=self.identity.session(user), url=url)

    def start(self, name: str) -> None:
        """Begin a process; ``wait`` returns when all serve."""
        backend = self.backends.get(name)
        program = PLACE / "bin" / ("cinder-volume" if backend else name)
        configurations = [f"--config-file={self.folder / 'cinder.conf'}"]
        if backend:
            configurations += [f"--config-file={self.folder / name}.conf"]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [str(program), *configurations],
                cwd=self.folder,
                env=self._environment(backend),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def add(self, backend: Backend) -> None:
        """Begin a volume service, and a type of volumes; ``wait`` returns when it serves."""
        self.backends[backend.name] = backend
        (self.folder / f"{backend.name}.conf").write_text(backend.written())
        self.start(backend.name)

    def wait(self) -> None:
        """Return when the API answers and the scheduler knows of every backend."""
        # What is said to a queue that is not there yet is lost, and its answer waited for.
        self._wait_for(lambda: _listens(self.broker, SCHEDULER))
        self._wait_for(self._serves)

    def kill(self, name: str) -> None:
        """kill -9 a process and its children."""
        process = self.processes.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    @contextmanager
    def without(self, name: str) -> Iterator[None]:
        """Have one process be gone until the block ends."""
        self.kill(name)
        try:
            yield
        finally:
            self.start(name)
            self.wait()

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Have one process do nothing until the block ends, and not say so."""
        group = self.processes[name].pid
        os.killpg(group, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(group, signal.SIGCONT)

    def requests(self, verb: str, path: str) -> list[str]:
        """Return those that the API has begun with since the last were forgotten."""
        with (self.folder / f"{API}.log").open(errors="replace") as log:
            log.seek(self.read)
            return [line for line in log if f"{verb} http" in line and path in line]

    def forget_requests(self) -> None:
        self.read = (self.folder / f"{API}.log").stat().st_size

    def wait_for_request(self, verb: str, path: str) -> None:
        """Return when the API has begun with such a request."""
        self._wait_for(lambda: bool(self.requests(verb, path)))

    def said(self, name: str) -> str:
        """Return the end of a process's log."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]

    def _environment(self, backend: Backend | None) -> dict[str, str]:
        path = backend.path if backend else os.environ["PATH"]
        modules = [str(self.folder / FIRST), backend.modules if backend else ""]
        return {
            "PATH": f"{PLACE / 'bin'}{os.pathsep}{path}",
            "HOME": os.environ.get("HOME", "/"),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": os.pathsep.join(filter(None, modules)),
            "PYTHONWARNINGS": "ignore",
        }

    def _wait_for(self, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not ready():
            for name, process in self.processes.items():
                assert process.poll() is None, self.said(name)
            assert time.monotonic() < end, "\n".join(map(self.said, self.processes))
            time.sleep(0.1)

    def _serves(self) -> bool:
        try:
            pools = self.caller("root").get("/scheduler-stats/get_pools")["pools"]
        except ClientException:
            return False
        return self.backends.keys() <= {pool["name"].split("@")[1].split("#")[0] for pool in pools}


@contextmanager
def running() -> Iterator[Cinder]:
    """A Cinder without a backend as yet; nothing of it is left when the block ends."""
    require((PLACE / ".stamp").exists(), "Cinder (tools/cinder-venv.sh)")
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="bw-cinder-"))
        stack.callback(shutil.rmtree, folder)
        identity = stack.enter_context(identity_server())
        broker = stack.enter_context(private_rabbitmq())
        (port,) = free_ports(1)
        identity.cinder = f"http://127.0.0.1:{port}"
        cinder = Cinder(folder=folder, port=port, broker=broker.url, identity=identity)
        (folder / "cinder.conf").write_text(written(folder, broker.url, port, identity))
        make_database(folder, PLACE / "empty.sqlite")
        stack.callback(_end, cinder)
        cinder.start(API)
        cinder.start(SCHEDULER)
        yield cinder


def _listens(broker: str, queue: str) -> bool:
    with Connection(broker.replace("rabbit", "amqp", 1)) as connection:
        try:
            found = Queue(queue, channel=connection.channel()).queue_declare(passive=True)
        except BROKER_ERRORS:
            return False
    return bool(found.consumer_count)


def _end(cinder: Cinder) -> None:
    for name in list(cinder.processes):
        cinder.kill(name)
