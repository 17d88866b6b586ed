"""The tgtd of a worker's own: where it lives and listens, and what is said when it cannot."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tgtds import end, kill, pid_of, private_tgtd, tgtadm
from worker.errors import VolumeServiceUnavailable
from worker.volume.pool.targets import Export, Targets
from worker.volume.pool.tgt import Tgt, TgtRefusal
from worker.volume.pool.tgtd import GivenTgtd, PrivateTgtd

IQN = "iqn.2026-11.org.example.test:one"


@pytest.fixture
def state() -> Iterator[Path]:
    with private_tgtd() as found:
        yield found._state  # noqa: SLF001


@contextmanager
def occupied(host: str = "127.0.0.1") -> Iterator[int]:
    """A port that somebody listens at."""
    with socket.socket() as listener:
        listener.bind((host, 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_it_is_started_once_and_known_again(state: Path) -> None:
    portal = PrivateTgtd(state).ensure()
    pid = pid_of(state)

    assert pid is not None
    assert PrivateTgtd(state).ensure() == portal
    assert pid_of(state) == pid
    assert portal in tgtadm(state, "portal")
    assert state.stat().st_mode & 0o077 == 0


def test_two_hosts_on_one_machine_listen_apart(state: Path) -> None:
    with private_tgtd() as other:
        assert other.ensure() != PrivateTgtd(state).ensure()


def test_it_keeps_its_port_and_never_takes_another(state: Path) -> None:
    portal = PrivateTgtd(state).ensure()
    kill(state)
    host, _, port = portal.rpartition(":")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((host, int(port)))
        taken.listen()
        with pytest.raises(VolumeServiceUnavailable, match=f"cannot listen at {portal}"):
            PrivateTgtd(state).ensure()
        assert pid_of(state) is None, "one that nobody reaches does not run on"

    assert PrivateTgtd(state).ensure() == portal


def test_it_listens_where_it_is_told_to_and_nowhere_else(state: Path) -> None:
    with occupied() as port, pytest.raises(VolumeServiceUnavailable, match=str(port)):
        PrivateTgtd(state, f"127.0.0.1:{port}").ensure()
    given = f"127.0.0.1:{port}"
    assert PrivateTgtd(state, given).ensure() == given
    assert tgtadm(state, "portal").split() == ["Portal:", f"{given},1"]


def test_a_deep_folder_is_no_hindrance(state: Path) -> None:
    deep = state.joinpath(*["a-folder-that-has-a-long-name"] * 6)
    daemon = PrivateTgtd(deep)
    try:
        assert daemon.ensure() in daemon.tgt.portals()
    finally:
        end(deep)


def test_it_ends_with_its_last_target_and_not_before(state: Path) -> None:
    daemon = PrivateTgtd(state)
    daemon.end()
    daemon.ensure()
    daemon.tgt.make_target(1, IQN)
    daemon.end()
    assert daemon.tgt.runs()

    daemon.tgt.drop_target(1)
    daemon.end()
    assert not daemon.tgt.runs()


def test_a_machine_without_tgtd_is_told_what_to_install(state: Path) -> None:
    with pytest.raises(VolumeServiceUnavailable, match="Debian package: tgt"):
        PrivateTgtd(state, search_path=str(state)).ensure()


def test_one_that_hangs_is_not_taken_for_a_dead_one(state: Path) -> None:
    """Nor is another started beside it, and what it exports forgotten."""
    tgt = Tgt(state / "ipc.0", timeout=0.2)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(state / "ipc.0"))
        listener.listen(0)
        assert tgt.runs()
        with pytest.raises(VolumeServiceUnavailable, match="does not answer"):
            Targets(tgt).all()
        # Nobody takes who has come so far, and there is room for no more.
        with pytest.raises(VolumeServiceUnavailable, match="does not answer"):
            tgt.runs()


def test_one_that_is_not_there_exports_nothing(state: Path) -> None:
    given = GivenTgtd(state / "ipc.0", "192.0.2.1:3260")

    assert given.ensure() == "192.0.2.1:3260"
    assert Targets(given.tgt).all() == ()
    Targets(given.tgt).drop(IQN, ["nobody"])
    with pytest.raises(VolumeServiceUnavailable):
        Targets(given.tgt).have(Export(iqn=IQN, path="/a", serial="a"))


def test_what_it_refuses_is_told_without_what_was_said(state: Path) -> None:
    daemon = PrivateTgtd(state)
    daemon.ensure()

    with pytest.raises(TgtRefusal, match="refuses to NEW a DEVICE") as refused:
        daemon.tgt.make_lun(7, "/secret/path")
    assert "secret" not in str(refused.value)
    with pytest.raises(VolumeServiceUnavailable, match="so long"):
        daemon.tgt.make_lun(7, "/" + "x" * 2000)


def test_it_needs_no_rights() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.contract.ordinary_tgtd"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.split()) == (0, ["[True]", "()"]), done.stderr
