"""RabbitMQ as private processes: ports, data and port mapper of their own, no service."""

import contextlib
import functools
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
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

FIXED_PORTS = range(20000, 32000)

CLUSTER = """\
cluster_formation.peer_discovery_backend = classic_config
"""


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback that nobody listens on.

    None is of those that outgoing connections are given: a broker that is away would find its
    own taken when it comes back.
    """
    drawn = random.SystemRandom().sample(FIXED_PORTS, 50 * count)
    with contextlib.ExitStack() as stack:
        return list(itertools.islice(filter(functools.partial(_is_free, stack), drawn), count))


def _is_free(stack: contextlib.ExitStack, port: int) -> bool:
    taken = stack.enter_context(socket.socket())
    try:
        taken.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


class PortMapper:
    """Erlang's epmd, through which nodes find one another, and the home where their cookie lies."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (self.port,) = free_ports(1)
        self._process = subprocess.Popen(
            ["epmd", "-port", str(self.port), "-address", "127.0.0.1"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def remove(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


class RabbitMQ:
    """One broker, that can be stopped, killed and started again on the same data."""

    def __init__(
        self, folder: Path, mapper: PortMapper, ports: Sequence[int], config: Path | None = None
    ) -> None:
        self._folder = folder
        self._mapper = mapper
        self._config = config or folder / "none"
        self._port, self._distribution = ports
        self._log = (folder / "output").open("ab")
        self._server: subprocess.Popen[bytes] | None = None
        self.name = f"test{self._port}@localhost"
        self.place = f"guest:guest@127.0.0.1:{self._port}"
        self.url = f"rabbit://{self.place}/"

    @property
    def running(self) -> bool:
        """Whether it was started, and not ended since."""
        return self._server is not None

    def start(self) -> None:
        """Return when it takes connections."""
        self.begin()
        self.wait()

    def begin(self) -> None:
        """Start it; ``wait`` returns when it takes connections."""
        (self._folder / "plugins").write_text("[].")
        self._server = subprocess.Popen(
            [str(SERVER)],
            cwd=self._folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def wait(self) -> None:
        """Return when it takes connections."""
        assert self._server is not None
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

    def freeze(self) -> None:
        """Have it take no more notice of what is sent to it; only ``kill`` is left then."""
        assert self._server is not None
        os.killpg(self._server.pid, signal.SIGSTOP)

    def remove(self) -> None:
        """End it for good."""
        self.kill()
        self._log.close()

    def ask(self, *words: str) -> list[list[str]]:
        """Return the table that ``rabbitmqctl`` prints of this node, without its headers."""
        assert SERVER is not None
        done = subprocess.run(
            [str(SERVER.parent / "rabbitmqctl"), "--silent", "--node", self.name, *words],
            cwd=self._folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        return [line.split("\t") for line in done.stdout.splitlines()]

    def environment(self) -> dict[str, str]:
        """Return what makes its programs its own."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self._mapper.home),
            "ERL_EPMD_PORT": str(self._mapper.port),
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "data"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_PID_FILE": str(self._folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self._config),
            # Idle schedulers that spin would take the time that is measured.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
        }

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


class Cluster:
    """Brokers that keep their quorum queues together; ``url`` names them all."""

    def __init__(self, folder: Path, mapper: PortMapper, size: int) -> None:
        config = folder / "cluster.conf"
        ports = iter(free_ports(2 * size))
        self.nodes: list[RabbitMQ] = []
        for number in range(size):
            own = folder / str(number)
            own.mkdir()
            self.nodes.append(RabbitMQ(own, mapper, (next(ports), next(ports)), config))
        members = [
            f"cluster_formation.classic_config.nodes.{number} = {node.name}\n"
            for number, node in enumerate(self.nodes, 1)
        ]
        config.write_text(CLUSTER + "".join(members))
        self.url = f"rabbit://{','.join(node.place for node in self.nodes)}/"

    def start(self) -> None:
        """Return when all take connections."""
        first, *others = self.nodes
        # Whoever finds no other node begins a cluster of its own: one must be there first.
        first.start()
        for node in others:
            node.begin()
        for node in others:
            node.wait()

    def leader_of(self, queue: str) -> RabbitMQ:
        """Return the node on which the queue's leader is."""
        asked = next(node for node in self.nodes if node.running)
        leaders = dict(asked.ask("list_queues", "name", "leader"))
        return next(node for node in self.nodes if node.name == leaders[queue])

    def replicas_of(self, queue: str) -> int:
        """Return how many nodes have a replica of the queue that is up."""
        asked = next(node for node in self.nodes if node.running)
        online = dict(asked.ask("list_queues", "name", "online"))
        return len(online[queue].strip("[]").split(","))

    def remove(self) -> None:
        """End all for good."""
        for node in self.nodes:
            node.remove()


@contextlib.contextmanager
def private_rabbitmq() -> Iterator[RabbitMQ]:
    """Lend a running broker; nothing of it is left afterwards."""
    with _ground() as (folder, mapper):
        broker = _started(folder, mapper)
        try:
            yield broker
        finally:
            broker.remove()


def _started(folder: Path, mapper: PortMapper, attempts: int = 3) -> RabbitMQ:
    """Start one; a port that was free when it was drawn may be another's by now."""
    broker = RabbitMQ(folder, mapper, free_ports(2))
    try:
        broker.start()
    except AssertionError:
        broker.remove()
        if attempts == 1:
            raise
        return _started(folder, mapper, attempts - 1)
    return broker


@contextlib.contextmanager
def private_cluster(size: int = 3) -> Iterator[Cluster]:
    """Lend running brokers that are one cluster; nothing of them is left afterwards."""
    with _ground() as (folder, mapper):
        cluster = Cluster(folder, mapper, size)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.remove()


@contextlib.contextmanager
def _ground() -> Iterator[tuple[Path, PortMapper]]:
    require(SERVER is not None, "rabbitmq-server")
    require(shutil.which("epmd") is not None, "epmd (package erlang-base)")
    with tempfile.TemporaryDirectory(prefix="rabbit") as folder:
        mapper = PortMapper(Path(folder))
        try:
            yield Path(folder), mapper
        finally:
            mapper.remove()
