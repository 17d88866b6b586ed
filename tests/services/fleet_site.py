"""The API before two workers, as processes that share a broker and a database."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import copy
from typing import Any

import requests
from sqlalchemy import update

from tests.clients import Cloud, cloud
from tests.functional.rescues import Patient
from tests.guests import Guest
from tests.processes import SOON, START, Served, configure
from tests.services_rabbitmq import free_ports
from worker.api.front.open_door import PROJECT
from worker.api.front.token_file import TokenFile
from worker.model.ids import InstanceId, new_uuid
from worker.persistence.engine import make_engine
from worker.persistence.schema import INSTANCES


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """The URLs of what all processes share."""

    broker: str
    database: str


@dataclass(kw_only=True)
class ApiProcess:
    """`blockworker api` in a process of its own."""

    config: Path
    url: str
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin it, and wait until it answers."""
        with self.config.with_suffix(".log").open("ab") as log:
            command = [sys.executable, "-m", "worker", "api", "--config-file", str(self.config)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START
        while not self._answers():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/v2.1", timeout=5).ok
        except requests.ConnectionError:
            return False

    @property
    def tokens(self) -> Path:
        return self.config.with_name("api-tokens")

    def log(self) -> str:
        return self.config.with_suffix(".log").read_text()

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Two hosts, each with a server whose guest runs, and the API with its clients.

    ``compute`` and ``storage`` are the SDK's, for what is asked often: a command costs a second.
    """

    workers: dict[str, Served]
    api: ApiProcess
    clients: Cloud
    compute: Any
    storage: Any
    folder: Path
    servers: dict[str, Guest]

    def volume(self) -> str:
        """Make a volume; return its id."""
        made = self.clients.asked("volume", "create", "--size", "1", f"data-{new_uuid()[:8]}")
        until(lambda: self.storage.get_volume(made["id"]).status, "available")
        return str(made["id"])

    def status(self, server: str) -> str:
        return str(self.compute.get_server(server).status)

    def volumes(self, server: str) -> list[str]:
        return [each.volume_id for each in self.compute.volume_attachments(server)]

    def patient(self, server: str) -> Patient:
        """Return a server that was made here as its host sees it."""
        worker = self.workers[self.compute.get_server(server).compute_host]
        return Patient(
            uuid=InstanceId(server),
            folder=self.folder / "instances" / server,
            connection=next(iter(self.servers.values())).domain.connect(),
            call=worker.client.call,
            run=worker.run,
        )


def until(look: Callable[[], Any], wanted: object) -> None:
    deadline = time.monotonic() + SOON
    while (seen := look()) != wanted:
        assert time.monotonic() < deadline, f"{seen} is not {wanted}"
        time.sleep(0.2)


@contextmanager
def worker_of(host: str, folder: Path, libvirtd: str, shared: Shared) -> Iterator[Served]:
    served = configure(folder / host, libvirtd, host=host, transport_url=shared.broker)
    with served.config.open("a") as config:
        config.write(f"\n[database]\nconnection = {shared.database.replace('%', '%%')}\n")
        config.write(f"[image]\nfolder = {folder / 'images'}\n")
        config.write(f"instances_path = {folder / 'instances'}\n")
    served.start()
    yield served
    if served.process is not None and served.process.poll() is None:
        served.kill()


@contextmanager
def api_of(folder: Path, shared: Shared, tokens: Path | None = None) -> Iterator[ApiProcess]:
    """An API with a token file of its own, or a copy of that of another."""
    (port,) = free_ports(1)
    state = folder / f"api-{port}"
    state.mkdir()
    if tokens is not None:
        copy(tokens, state)
    lines = ["[DEFAULT]", f"state_path = {state}", f"transport_url = {shared.broker}"]
    lines += ["[database]", f"connection = {shared.database.replace('%', '%%')}"]
    lines += ["[image]", f"folder = {folder / 'images'}"]
    lines += ["[api]", f"listen = 127.0.0.1:{port}"]
    config = state / "api.conf"
    config.write_text("\n".join(lines))
    found = ApiProcess(config=config, url=f"http://127.0.0.1:{port}")
    found.start()
    yield found
    found.kill()


def clients_of(api: ApiProcess) -> Any:  # noqa: ANN401 - a context
    """Point the clients at it by the file that the operator is given for that."""
    command = [sys.executable, "-m", "worker", "api", "clouds", "--config-file", str(api.config)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    config = api.config.with_name("clouds.yaml")
    config.write_text(printed)
    (first,) = TokenFile(api.tokens).lines()
    return cloud(api.url, api.config.parent, first.token, config)


def give_to_project(shared: Shared) -> None:
    """An instance that was adopted is nobody's until its operator says whose."""
    engine = make_engine(shared.database)
    with engine.begin() as connection:
        connection.execute(update(INSTANCES).values(project_id=PROJECT, user_id="admin"))
    engine.dispose()
