"""RabbitMQ as a private process: ports, data and port mapper of its own, no service."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from kombu.connection import Connection

from tests.rings import require
from worker.rpc.link import BROKER_ERRORS

PATIENCE = 60.0
SERVER = next(
    iter(sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))),
    None,
)
"""The one in PATH would change to the service's user."""


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback that nobody listens on."""
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in taken:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in taken]


class RabbitMQ:
    """One broker, that can be stopped, killed and started again on the same data."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port, self._distribution, self._mapper = free_ports(3)
        self._log = (folder / "output").open("ab")
        self._epmd: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self.url = f"rabbit://guest:guest@127.0.0.1:{self._port}/"

    def start(self) -> None:
        """Return when it takes connections."""
        if self._epmd is None:
            mapper = ["epmd", "-port", str(self._mapper), "-address", "127.0.0.1"]
            self._epmd = self._run(mapper)
        self._server = self._run([str(SERVER)])
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self._folder / "output").read_text()[-2000:])
            time.sleep(0.1)

    def stop(self) -> None:
        """Return when it is gone; its durable queues are not."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def remove(self) -> None:
        """End it and its port mapper."""
        self.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
        self._log.close()

    def _end(self, how: signal.Signals) -> None:
        if self._server is None:
            return
        # The script, the Erlang machine and its helpers are one process group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._server.pid, how)
        self._server.wait(PATIENCE)
        with contextlib.suppress(ProcessLookupError):
            while how is signal.SIGTERM:
                os.killpg(self._server.pid, 0)
                time.sleep(0.05)
        self._server = None

    def _answers(self) -> bool:
        try:
            with Connection(self.url.replace("rabbit", "amqp", 1), connect_timeout=1) as connection:
                connection.connect()
        except BROKER_ERRORS:
            return False
        return True

    def _run(self, command: list[str]) -> subprocess.Popen[bytes]:
        plugins = self._folder / "plugins"
        plugins.write_text("[].")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            "ERL_EPMD_PORT": str(self._mapper),
            "RABBITMQ_NODENAME": f"test{self._port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "data"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_PID_FILE": str(self._folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_CONFIG_FILE": str(self._folder / "none"),
            # Idle schedulers that spin would take the time that is measured.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
        }
        return subprocess.Popen(
            command,
            cwd=self._folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )


@contextlib.contextmanager
def private_rabbitmq() -> Iterator[RabbitMQ]:
    """Lend a running broker; nothing of it is left afterwards."""
    require(SERVER is not None, "rabbitmq-server")
    require(shutil.which("epmd") is not None, "epmd (package erlang-base)")
    with tempfile.TemporaryDirectory(prefix="rabbit") as folder:
        broker = RabbitMQ(Path(folder))
        try:
            broker.start()
            yield broker
        finally:
            broker.remove()
