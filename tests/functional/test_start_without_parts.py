"""A part that is away at start is named, and waited for where that makes sense."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.processes import Served, blockworker, configure
from worker.errors import WorkerError


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@contextmanager
def started(served: Served) -> Iterator[subprocess.Popen[bytes]]:
    """Start it without waiting until it serves."""
    with (served.state / "serve.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker", "serve", "--config-file", str(served.config)],
            stdout=log,
            stderr=log,
        )
    served.process = process
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def wait_for_log(served: Served, *words: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if any(all(word in line for word in words) for line in served.log().splitlines()):
            return
        time.sleep(0.05)
    message = f"{words} not in: {served.log()}"
    raise AssertionError(message)


def test_a_broker_that_is_away_is_named_and_does_not_keep_it_from_serving(
    libvirtd: str, tmp_path: Path
) -> None:
    url = f"rabbit://guest:sesame-7391@127.0.0.1:{free_port()}/"
    served = configure(tmp_path / "state", libvirtd, transport_url=url)
    served.start()
    try:
        wait_for_log(served, "broker away")
        assert served.client.call("ping")["host"]
        assert "sesame-7391" not in served.log()
        assert served.stop() == 0
    finally:
        served.kill()


def test_a_database_that_is_away_is_named_and_waited_for(libvirtd: str, tmp_path: Path) -> None:
    served = configure(tmp_path / "state", libvirtd)
    url = f"postgresql+psycopg://bw:sesame-7391@127.0.0.1:{free_port()}/bw"
    with served.config.open("a") as config:
        config.write(f"\n[database]\nconnection = {url}\n")
    with started(served) as process:
        wait_for_log(served, "database away", "retry_in")
        assert process.poll() is None
        assert "sesame-7391" not in served.log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_that_waits_for_its_database_can_be_stopped(
    libvirtd: str, tmp_path: Path, number: signal.Signals
) -> None:
    served = configure(tmp_path / "state", libvirtd)
    url = f"postgresql+psycopg://bw@127.0.0.1:{free_port()}/bw"
    with served.config.open("a") as config:
        config.write(f"\n[database]\nconnection = {url}\n")
    with started(served) as process:
        wait_for_log(served, "database away")
        process.send_signal(number)
        assert process.wait(5) == 0
    assert "Traceback" not in served.log()


def test_a_libvirt_that_is_away_is_named_and_operations_say_so(tmp_path: Path) -> None:
    socket_path = tmp_path / "nobody"
    served = configure(tmp_path / "state", f"qemu+unix:///system?socket={socket_path}")
    served.start()
    try:
        wait_for_log(served, "libvirt", "nobody")
        with pytest.raises(WorkerError) as caught:
            served.client.call("adopt_instance", domain="x")
        assert caught.value.code in ("hypervisor.unavailable", "unavailable")
    finally:
        served.kill()


def test_a_schema_of_another_release_is_refused(libvirtd: str, tmp_path: Path) -> None:
    served = configure(tmp_path / "state", libvirtd)
    with served.config.open("a") as config:
        config.write(f"\n[database]\nconnection = sqlite:///{tmp_path / 'empty.sqlite'}\n")
    done = blockworker("serve", "--config-file", served.config)
    assert done.returncode == 1
    assert "blockworker db upgrade" in done.stderr
    assert served.command("db", "check").returncode == 3
    assert served.command("db", "upgrade").returncode == 0
    assert served.command("db", "check").returncode == 0
