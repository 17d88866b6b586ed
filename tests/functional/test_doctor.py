"""``blockworker doctor`` as an operator runs it: with a worker, without one, on a broken host."""

import json
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.guests import GuestMaker
from tests.processes import Json, Served, blockworker, configure

PASSWORD = "sesame-open-7391"


@pytest.fixture
def served(libvirtd: str, tmp_path: Path) -> Iterator[Served]:
    found = configure(tmp_path / "state", libvirtd)
    found.start()
    yield found
    if found.process is not None and found.process.poll() is None:
        found.kill()


@pytest.fixture
def silent() -> Iterator[int]:
    """A port at which somebody listens and never says a word."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        held: list[socket.socket] = []
        threading.Thread(target=_hold, args=(server, held), daemon=True).start()
        yield server.getsockname()[1]
        for each in held:
            each.close()


def _hold(server: socket.socket, held: list[socket.socket]) -> None:
    while True:
        try:
            held.append(server.accept()[0])
        except OSError:
            return


def by_check(output: str) -> dict[str, list[Json]]:
    found: dict[str, list[Json]] = {}
    for each in json.loads(output)["findings"]:
        found.setdefault(each["check"], []).append(each)
    return found


def test_a_worker_that_serves_is_looked_at_and_not_in_the_way(
    served: Served, make_guest: GuestMaker
) -> None:
    served.state.chmod(0o700)
    guest = make_guest(booted=False)
    guest.domain.create()
    served.client.call("adopt_instance", domain=guest.uuid)
    # A machine that does more than one thing takes longer than a host that is looked at.
    done = served.command("doctor", "--json", "--timeout", "60")

    found = by_check(done.stdout)
    assert done.returncode == 3, done.stdout
    assert "answers" in found["worker"][0]["said"]
    assert [each["verdict"] for each in found["database"]] == ["ok"]
    assert [each["verdict"] for each in found["libvirt"]] == ["ok", "ok"]
    assert guest.uuid in found["free places"][0]["said"]
    assert [each["verdict"] for each in found["state folder"]] == ["ok", "ok"]
    assert [each["verdict"] for each in found["broker"]] == ["warning"]
    assert all(
        (each["do"] is None) == (each["verdict"] == "ok")
        for all_ in found.values()
        for each in all_
    )
    assert all(line.startswith("still looking at: ") for line in done.stderr.splitlines())


def test_without_a_worker_nothing_is_made(tmp_path: Path) -> None:
    state = tmp_path / "state"
    done = blockworker("doctor", "--state-path", state, "--timeout", "60")
    assert done.returncode == 3, done.stdout
    assert "no worker answers here" in done.stdout
    assert "do: set transport_url to a RabbitMQ" in done.stdout
    assert all(line.startswith("still looking at: ") for line in done.stderr.splitlines())
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_answer_is_a_line_that_shows_no_secret(tmp_path: Path, silent: int) -> None:
    config = tmp_path / "blockworker.conf"
    config.write_text(
        f"[DEFAULT]\nstate_path = {tmp_path / 'state'}\n"
        f"transport_url = rabbit://worker:{PASSWORD}@127.0.0.1:{silent}/\n"
        f"[database]\nconnection = mysql+pymysql://worker:{PASSWORD}@127.0.0.1:{silent}/x\n"
        "[hypervisor]\nuri = qemu+unix:///system?socket=/nowhere/libvirt-sock\n"
    )
    # Longer than a start of Python takes, so that what is fine has its say.
    done = blockworker("doctor", "--json", "--config-file", config, "--timeout", "8")

    found = by_check(done.stdout)
    assert done.returncode == 1, done.stdout
    for name in ("broker", "database", "libvirt"):
        assert found[name][-1]["verdict"] == "failed", found[name]
    assert found["room"][0]["verdict"] in {"ok", "warning"}
    assert "still looking at: " in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_schema_of_another_release_names_the_command(served: Served) -> None:
    served.stop()
    database = served.state / "blockworker.sqlite"
    with closing(sqlite3.connect(database)) as opened:
        opened.execute("update alembic_version set version_num = '0001'")
        opened.commit()
    done = served.command("doctor", "--json", "--timeout", "60")
    (found,) = by_check(done.stdout)["database"]
    assert (done.returncode, found["verdict"]) == (1, "failed")
    assert found["do"] == "blockworker db upgrade"
