"""``blockworker all-in-one`` and ``blockworker api``, as processes; and kill -9."""

import json
import re
import signal
import socket
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

from tests.guests import GuestMaker
from tests.notified import Manager, manager
from tests.processes import SOON, START, Served, configure
from worker.model.ids import new_uuid

Json = dict[str, Any]


@dataclass(kw_only=True)
class Site(Served):
    """A process with an API, asked over HTTP."""

    program: tuple[str, ...] = ("worker", "all-in-one")
    token: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """Where the process that runs says that it serves."""
        return str(re.findall(r"api serves: url=(\S+)", self.log())[-1])

    def ask(self, method: str, path: str, body: Json | None = None) -> tuple[int, Json]:
        """Ask the API; return the status and what it said."""
        headers = {"X-Auth-Token": self.token, "Content-Type": "application/json"}
        headers["OpenStack-API-Version"] = "compute 2.100"
        sent = None if body is None else json.dumps(body).encode()
        request = Request(self.url + path, sent, headers, method=method)  # noqa: S310 - its own
        try:
            with urlopen(request, timeout=SOON) as answer:  # noqa: S310 - its own
                return answer.status, json.loads(answer.read() or b"null")
        except HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def started(self, listening: Manager) -> None:
        """Start, and wait until it says itself that it serves."""
        self.process = self.launched()
        listening.wait_for("READY", START)

    def learn_token(self) -> str:
        """Take the token that a user of this machine gets from ``api clouds``."""
        done = self.command("api", "clouds")
        assert done.returncode == 0, done.stderr
        (self.token,) = re.findall(r'token: "(.*)"', done.stdout)
        return self.token


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Manager]:
    with manager(tmp_path) as found:
        yield found


@pytest.fixture
def site(libvirtd: str, listening: Manager, tmp_path: Path) -> Iterator[Site]:
    """A worker and its API in one process, not yet started; killed at the end."""
    served = configure(tmp_path / "state", libvirtd, graceful_timeout="20")
    with served.config.open("a") as config:
        config.write("\n[api]\nlisten = 127.0.0.1:0\n")
    found = Site(state=served.state, config=served.config, environment=listening.environment())
    found.state.chmod(0o700)
    yield found
    if found.process is not None and found.process.poll() is None:
        found.kill()


def attachments(server: str, volume: str = "") -> str:
    return f"/v2.1/servers/{server}/os-volume_attachments" + (f"/{volume}" if volume else "")


def test_one_command_makes_a_service_that_outlives_kill_9(
    site: Site, listening: Manager, make_guest: GuestMaker
) -> None:
    site.started(listening)
    token = site.learn_token()
    assert stat.S_IMODE((site.state / "api-tokens").stat().st_mode) == 0o600
    assert token not in site.log()
    assert "bus is unsafe" not in site.log()
    assert "api-tokens was made" in site.log()
    assert f"blockworker api clouds --config-file {site.config} > clouds.yaml)" in site.log()

    guest, volume = make_guest(), new_uuid()
    site.client.call("adopt_instance", domain=guest.uuid)
    assert site.run("create_volume", volume_id=volume, size=1 << 20)["fault"] is None
    wanted = {"volumeAttachment": {"volumeId": volume}}
    status, told = site.ask("POST", attachments(guest.uuid), wanted)
    assert status == 200, told
    site.kill()

    site.started(listening)
    assert site.learn_token() == token
    assert site.log().count("api-tokens was made") == 1
    guest.wait_for_disk("vda")
    listed = attached(site, guest.uuid)
    assert [each["volumeId"] for each in listed] == [volume]
    assert site.ask("DELETE", attachments(guest.uuid, volume))[0] == 202
    guest.wait_for_no_disk("vda")
    assert site.stop() == 0
    with pytest.raises(URLError):
        site.ask("GET", "/")


def attached(site: Site, server: str) -> list[Json]:
    """Return the attachments, once the operation that was cut off has ended."""
    deadline = time.monotonic() + SOON
    while time.monotonic() < deadline:
        rows = site.client.call("list_block_devices", instance_uuid=server)
        if [row["status"] for row in rows] == ["attached"]:
            break
        time.sleep(0.1)
    status, told = site.ask("GET", attachments(server))
    assert status == 200
    found: list[Json] = told["volumeAttachments"]
    return found


def test_the_api_and_the_worker_end_together_when_told(site: Site, listening: Manager) -> None:
    site.started(listening)
    url = site.url
    done = site.command("drain")
    assert done.returncode == 0, done.stderr
    assert site.process is not None
    assert site.process.wait(SOON) == 0
    with pytest.raises(URLError):
        urlopen(url, timeout=SOON)  # noqa: S310 - its own


def test_a_port_that_is_taken_leaves_no_worker(site: Site, listening: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = site.config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}")
        site.config.write_text(text)
        site.process = site.launched()
        assert site.process.wait(SOON) == 1
    assert f"cannot be served at 127.0.0.1:{port}" in site.log()
    assert "worker stops" in site.log()
    site.started(listening)
    assert site.stop() == 0


def test_an_api_alone_needs_a_bus_that_others_are_on(site: Site) -> None:
    done = site.command("api")
    assert done.returncode == 1
    assert "run `blockworker all-in-one`" in done.stderr


@pytest.fixture
def alone(site: Site) -> Site:
    """The API alone, whose broker and database are away."""
    text = site.config.read_text()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    away = f"transport_url = rabbit://u:hush@127.0.0.1:{port}//\n"
    site.config.write_text(text.replace("[DEFAULT]\n", f"[DEFAULT]\n{away}"))
    site.program = ("worker", "api")
    return site


def test_an_api_alone_serves_while_the_broker_is_away(alone: Site, listening: Manager) -> None:
    alone.started(listening)
    alone.learn_token()
    assert alone.ask("GET", "/v2.1/servers")[0] == 200
    alone.process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
    listening.wait_for("RELOADING")
    listening.wait_for("READY")
    assert alone.stop() == 0
    assert "hush" not in alone.log()


def test_an_api_alone_waits_for_its_database(alone: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with alone.config.open("a") as config:
        config.write(f"[database]\nconnection = postgresql+psycopg://u:hush@127.0.0.1:{port}/d\n")
    alone.process = alone.launched()
    deadline = time.monotonic() + START
    while "database away" not in alone.log() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alone.process.poll() is None
    assert alone.stop() == 0
    assert "hush" not in alone.log()
