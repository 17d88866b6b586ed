"""A worker that starts anew knows how the libvirtd ended that an earlier one was connected to."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contract.daemons import Ear, Victim, victim
from tests.guests import Guest, guest_maker
from tests.rings import require
from worker.cmd.demo.guest_image import GuestImage
from worker.model.guest import GuestInDoubt
from worker.model.ids import InstanceId
from worker.virt.guests import LibvirtGuests
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.libvirtd.memory import Memory

IN_MEMORY = Path("/dev/shm")
"""Where libvirtd has its pid file here: of the kind that /run is, which gives no number twice."""


@pytest.fixture(scope="module")
def daemon() -> Iterator[Victim]:
    require(IN_MEMORY.is_dir(), f"{IN_MEMORY}, a file system in memory")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(IN_MEMORY))
        with victim() as one:
            patch.undo()
            yield one


@pytest.fixture(scope="module")
def made(
    daemon: Victim, guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guest]:
    with guest_maker(daemon.start(), guest_image, tmp_path_factory.mktemp("guest")) as make:
        yield make(booted=False)
        daemon.start()


@pytest.fixture
def guest(daemon: Victim, made: Guest) -> Iterator[Guest]:
    """A guest that runs; whether it has booted is all the same here."""
    with worker(daemon, None) as connection, connection.domain(InstanceId(made.uuid)) as domain:
        domain.create()
    yield made
    daemon.start()
    with worker(daemon, None) as connection, connection.domain(InstanceId(made.uuid)) as domain:
        if domain.isActive():
            domain.destroy()


@pytest.fixture
def near(daemon: Victim) -> Path:
    """A state folder on the pid file's file system, as with the private libvirtd."""
    return Path(tempfile.mkdtemp(dir=daemon.state))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A state folder on another one, as with the system's libvirtd."""
    require(tmp_path.stat().st_dev != IN_MEMORY.stat().st_dev, "two file systems")
    return tmp_path


@pytest.fixture(params=["near", "elsewhere"])
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


@contextmanager
def worker(
    daemon: Victim, folder: Path | None, *, keep: bool = True
) -> Iterator[LibvirtConnection]:
    uri = daemon.start()
    memory = Memory(folder, uri, keep=keep)
    connection = LibvirtConnection(uri, patience=5.0, reopen_interval=0.2, memory=memory)
    try:
        yield connection
    finally:
        connection.close()


def doubts(daemon: Victim, folder: Path, guest: Guest, *, keep: bool = True) -> bool:
    """Start a worker, end it, and return whether it doubted the guest."""
    with worker(daemon, folder, keep=keep) as connection:
        LibvirtGuests(connection).find(guest.name)
        return connection.in_doubt(InstanceId(guest.uuid))


def test_a_libvirtd_that_was_killed_while_no_worker_ran_leaves_its_guests_in_doubt(
    daemon: Victim, folder: Path, guest: Guest
) -> None:
    assert not doubts(daemon, folder, guest)
    daemon.kill()
    assert doubts(daemon, folder, guest)


def test_a_guest_stays_in_doubt_for_the_next_worker_until_it_stops(
    daemon: Victim, near: Path, guest: Guest
) -> None:
    doubts(daemon, near, guest)
    daemon.kill()
    doubts(daemon, near, guest)
    assert doubts(daemon, near, guest)
    with (
        worker(daemon, near) as connection,
        connection.domain(InstanceId(guest.uuid)) as domain,
    ):
        domain.destroy()
        domain.create()
    with worker(daemon, near) as connection, connection.domain(InstanceId(guest.uuid)) as domain:
        domain.destroy()
    assert not doubts(daemon, near, guest)


def test_whoever_listens_late_is_told_who_is_in_doubt(
    daemon: Victim, near: Path, guest: Guest
) -> None:
    instance, ear = InstanceId(guest.uuid), Ear()
    doubts(daemon, near, guest)
    daemon.kill()
    with worker(daemon, near) as connection:
        LibvirtGuests(connection).find(guest.name)
        connection.subscribe(ear.events.put)
        ear.until(GuestInDoubt(instance=instance))


def test_a_clean_stop_while_no_worker_ran_leaves_no_doubt(
    daemon: Victim, folder: Path, guest: Guest
) -> None:
    for _ in range(2):
        assert not doubts(daemon, folder, guest)
        daemon.stop()


def test_a_kill_before_a_clean_stop_is_seen_where_the_pid_file_has_a_second_name(
    daemon: Victim, folder: Path, guest: Guest
) -> None:
    doubts(daemon, folder, guest)
    daemon.kill()
    daemon.start()
    daemon.stop()
    assert doubts(daemon, folder, guest) is (folder.parent == daemon.state)


def test_who_only_looks_on_sees_it_and_leaves_it_to_the_worker(
    daemon: Victim, near: Path, guest: Guest
) -> None:
    doubts(daemon, near, guest)
    daemon.kill()
    left = {file: file.read_bytes() for file in near.iterdir()}
    assert doubts(daemon, near, guest, keep=False)
    assert {file: file.read_bytes() for file in near.iterdir()}.keys() == left.keys()
    assert doubts(daemon, near, guest, keep=False)
    assert doubts(daemon, near, guest)
