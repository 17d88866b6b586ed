"""The local control socket."""

import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.unit.scenes import DEVICE, INSTANCE, OPERATION, VOLUME, reserve
from tests.unit.test_dispatch import Door
from worker.errors import MethodUnknown, RequestMalformed, WorkerUnreachable
from worker.rpc.local import LONGEST, LocalClient, LocalServer


@pytest.fixture(params=["short", "deep/" * 30])
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path / str(request.param)
    folder.mkdir(parents=True)
    return folder / "control.sock"


@pytest.fixture
def door(path: Path) -> Iterator[Door]:
    found = Door()
    server = LocalServer(path, found.dispatcher)
    server.start()
    yield found
    server.stop()


def test_calls_and_operations_come_in_by_it(door: Door, path: Path) -> None:
    reserve(door.world)
    client = LocalClient(path)
    assert client.call("ping")["host"] == "host-1"
    kept = client.call(
        "attach_volume", operation_id=OPERATION, instance_uuid=INSTANCE, bdm_uuid=DEVICE
    )
    assert (kept["operation_id"], kept["state"]) == (OPERATION, "queued")
    assert [each.id for each in door.submitted] == [OPERATION]


def test_errors_come_back_as_what_they_are(door: Door, path: Path) -> None:
    client = LocalClient(path)
    with pytest.raises(MethodUnknown):
        client.call("sync_power_state", operation_id=OPERATION, instance_uuid=INSTANCE)
    with pytest.raises(RequestMalformed, match="volume_id is missing"):
        client.call("get_volume")


def test_only_its_owner_may_open_it(door: Door, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_dead_workers_socket_gives_way(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        if len(str(path)) < 100:
            dead.bind(str(path))
        else:
            path.touch()
    found = Door()
    server = LocalServer(path, found.dispatcher)
    server.start()
    assert LocalClient(path).call("ping")["host"] == "host-1"
    server.stop()
    assert not path.exists()


def test_no_worker_is_said_so(tmp_path: Path) -> None:
    for path in (tmp_path / "none.sock", tmp_path / "no" / "folder.sock"):
        with pytest.raises(WorkerUnreachable, match="no worker answers"):
            LocalClient(path).call("ping")


@pytest.mark.parametrize("line", [b"nonsense\n", b"[]\n", b"\xff\xfe\n", b"{}\n", b"\n"])
def test_nonsense_is_answered_and_the_connection_goes_on(
    door: Door, path: Path, line: bytes
) -> None:
    answers = talk(path, line + b'{"method": "ping"}\n', answers=2)
    assert b"request.malformed" in answers[0]
    assert b"host-1" in answers[1]


def test_a_request_without_end_is_refused_and_cut_off(door: Door, path: Path) -> None:
    answers = talk(path, b"x" * (LONGEST + 2), answers=2)
    assert b"longer than" in answers[0]
    assert answers[1] == b""


def test_many_are_served_and_stopping_wakes_those_who_wait(path: Path) -> None:
    found = Door()
    server = LocalServer(path, found.dispatcher)
    server.start()
    client, names = LocalClient(path), []
    threads = [
        threading.Thread(target=lambda: names.append(client.call("get_volume", volume_id=VOLUME)))
        for _ in range(30)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [name["id"] for name in names] == [VOLUME] * 30
    with connected(path):
        server.stop()
    with pytest.raises(WorkerUnreachable):
        client.call("ping")


def test_one_that_leaves_is_read_from_to_the_end_and_takes_nothing(path: Path) -> None:
    found = Door()
    reserve(found.world)
    server = LocalServer(path, found.dispatcher)
    server.start()
    client = LocalClient(path)
    server.leave()
    assert client.call("ping")["host"] == "host-1"
    assert client.call("list_operations") == []
    for method in ("attach_volume", "release_block_device", "retry_operation"):
        with pytest.raises(WorkerUnreachable, match="is stopping"):
            client.call(method, operation_id=OPERATION, bdm_uuid=DEVICE)
    assert found.submitted == []
    server.stop()


def connected(path: Path) -> socket.socket:
    """Connect by a link in a short folder: another way to a long path."""
    found = socket.socket(socket.AF_UNIX)
    found.settimeout(10.0)
    with TemporaryDirectory(dir="/tmp") as folder:
        link = Path(folder) / "link"
        link.symlink_to(path)
        found.connect(str(link))
    return found


def talk(path: Path, question: bytes, *, answers: int) -> list[bytes]:
    with connected(path) as connection, connection.makefile("rb") as stream:
        connection.sendall(question)
        return [stream.readline() for _ in range(answers)]
