"""PostgreSQL and MariaDB as private processes: a short folder each, no port, no service.

A server refuses to run as root, so root starts it as the user that its package made.
"""

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from tests.rings import require

PATIENCE = 60.0
STARTS = 10


class ServerEnded(Exception):
    """The server ended before it answered."""


def _program(name: str) -> Path | None:
    """PostgreSQL's programs are in no PATH, MariaDB's server only in root's."""
    newest = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    return next(iter(newest), Path(found) if found else None)


def _needed(name: str, package: str) -> str:
    path = _program(name)
    require(path is not None, f"{name} (package {package})")
    return str(path)


class Server(ABC):
    """One database server on data of its own."""

    user: str
    names = itertools.count(1)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            shutil.chown(folder, self.user, pwd.getpwnam(self.user).pw_gid)

    @abstractmethod
    def prepare(self) -> None:
        """Make the data folder."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return what is run."""

    @abstractmethod
    def url(self, database: str) -> str:
        """Return the URL of one of its databases."""

    def start(self) -> None:
        """Start it and wait until it answers.

        Tried anew when it ends: children of one that was killed may hold its memory for a moment.
        """
        for _ in range(STARTS - 1):
            try:
                return self._start()
            except ServerEnded:
                time.sleep(0.5)
        return self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self.as_user(self.command()),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            if self._process.poll() is not None:
                raise ServerEnded(f"{self.command()[0]} ended")
            assert time.monotonic() < deadline, f"{self.command()[0]} does not answer"
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it; connections that are open break."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)
            self._process = None

    def kill(self) -> None:
        """End it, and each process it has made, as a power cut would."""
        assert self._process is not None
        for pid in (self._process.pid, *_children(self._process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(PATIENCE)
        self._process = None

    def freeze(self) -> None:
        """Have it answer nobody and refuse nobody, until it is thawed."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        for pid in (self._process.pid, *_children(self._process.pid)):
            os.kill(pid, number)

    def answers(self) -> bool:
        engine = create_engine(self.url(self.user if self.user == "postgres" else "mysql"))
        try:
            with engine.connect():
                return True
        except OperationalError:
            return False
        finally:
            engine.dispose()

    def new_database(self) -> str:
        """Return the URL of a database that nobody has used."""
        name = f"t{next(self.names)}"
        main = self.url("postgres" if self.user == "postgres" else "mysql")
        engine = create_engine(main, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self.url(name)

    def run(self, command: list[str]) -> None:
        subprocess.run(self.as_user(command), check=True, capture_output=True, cwd=self.folder)

    def as_user(self, command: list[str]) -> list[str]:
        """What is run dies with the tests, however they end."""
        drop = ["setpriv", "--pdeathsig=TERM"]
        if os.geteuid() == 0:
            drop += [f"--reuid={self.user}", f"--regid={self.group}", "--clear-groups"]
        return [*drop, *command]

    @property
    def group(self) -> str:
        return str(pwd.getpwnam(self.user).pw_gid)


class Postgresql(Server):
    """PostgreSQL."""

    user = "postgres"

    def prepare(self) -> None:
        initdb = _needed("initdb", "postgresql")
        data = str(self.folder / "data")
        self.run([initdb, "-D", data, "-U", self.user, "-A", "trust", "-E", "UTF8", "--no-sync"])

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "max_connections": "200",
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return [_needed("postgres", "postgresql"), "-D", str(self.folder / "data"), *options]

    def stop(self) -> None:
        """SIGTERM alone would wait for the clients to leave."""
        if self._process is not None:
            data = str(self.folder / "data")
            self.run([_needed("pg_ctl", "postgresql"), "-D", data, "-m", "fast", "stop"])
        super().stop()

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://{self.user}@/{database}?host={self.folder}"


class Mariadb(Server):
    """MariaDB."""

    user = "mysql"

    def prepare(self) -> None:
        install = _needed("mariadb-install-db", "mariadb-server")
        self.run(
            [
                install,
                "--no-defaults",
                f"--datadir={self.folder / 'data'}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ]
        )

    def command(self) -> list[str]:
        return [
            _needed("mariadbd", "mariadb-server"),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--socket={self.folder / 'socket'}",
            f"--pid-file={self.folder / 'pid'}",
            "--skip-networking",
            "--innodb-buffer-pool-size=64M",
            # In the system's hands at each commit: a server that is killed loses none.
            "--innodb-flush-log-at-trx-commit=2",
            "--max-connections=200",
        ]

    def url(self, database: str) -> str:
        return f"mysql+pymysql://root@localhost/{database}?unix_socket={self.folder / 'socket'}"


def _children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # Behind the name, which may hold anything, stand the state and the parent.
            state_and_parent = entry.read_text().rpartition(")")[2].split()[:2]
            if state_and_parent[1] == str(parent):
                found.append(int(entry.parent.name))
    return found


@contextlib.contextmanager
def running(kind: type[Server]) -> Iterator[Server]:
    """Run a server on an empty data folder; both are gone afterwards."""
    _needed("initdb" if kind is Postgresql else "mariadbd", kind.__name__.lower())
    folder = Path(tempfile.mkdtemp(prefix="bw-"))
    server = kind(folder)
    try:
        server.prepare()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
