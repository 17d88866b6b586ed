"""A libvirtd that died puts its guests in doubt; one that stopped, or only hung, does not."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.contract.daemons import SOON, Ear, Victim, victim
from tests.guests import Guest, guest_maker
from worker.cmd.demo.guest_image import GuestImage
from worker.errors import HypervisorUnavailable
from worker.model.guest import GuestEvent, GuestInDoubt, PowerChanged
from worker.model.ids import InstanceId
from worker.virt.guests import LibvirtGuests
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.libvirtd.daemon import Daemon


@pytest.fixture(scope="module")
def made() -> Iterator[Victim]:
    with victim() as one:
        yield one


@pytest.fixture
def daemon(made: Victim) -> Victim:
    made.start()
    return made


@pytest.fixture
def guest(daemon: Victim, guest_image: GuestImage, tmp_path: Path) -> Iterator[Guest]:
    """A guest that runs; whether it has booted is all the same here."""
    with guest_maker(daemon.start(), guest_image, tmp_path) as make:
        made = make(booted=False)
        made.domain.create()
        yield made
        daemon.start()


@pytest.fixture
def connection(daemon: Victim) -> Iterator[LibvirtConnection]:
    opened = LibvirtConnection(daemon.start(), patience=1.0, reopen_interval=0.2)
    yield opened
    opened.close()


@pytest.fixture
def ear(connection: LibvirtConnection, guest: Guest) -> Ear:
    heard = Ear()
    connection.subscribe(heard.events.put)
    heard.until(PowerChanged(instance=InstanceId(guest.uuid)))
    return heard


def in_the_background(call: Callable[[], object]) -> Future[object]:
    """Begin a call on a thread that keeps no test from ending."""
    result: Future[object] = Future()

    def run() -> None:
        try:
            result.set_result(call())
        except Exception as error:  # noqa: BLE001 - it is raised where the result is asked for
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return result


def told(ear: Ear, guest: Guest) -> list[GuestEvent]:
    """Return all that is told of the guest until its next pause is."""
    changed = PowerChanged(instance=InstanceId(guest.uuid))
    return [changed, *ear.until(changed)]


def test_a_killed_libvirtd_leaves_its_guests_in_doubt(
    daemon: Victim, connection: LibvirtConnection, guest: Guest, ear: Ear
) -> None:
    instance = InstanceId(guest.uuid)
    assert not connection.in_doubt(instance)
    daemon.kill()
    daemon.start()
    ear.until(GuestInDoubt(instance=instance))
    assert connection.in_doubt(instance)


def test_nobody_has_to_listen_for_a_guest_to_be_in_doubt(
    daemon: Victim, connection: LibvirtConnection, guest: Guest
) -> None:
    LibvirtGuests(connection).describe(InstanceId(guest.uuid))
    daemon.kill()
    daemon.start()
    LibvirtGuests(connection).find(guest.name)
    assert connection.in_doubt(InstanceId(guest.uuid))


def test_it_is_noticed_even_if_the_next_one_was_stopped_cleanly(
    daemon: Victim, connection: LibvirtConnection, guest: Guest
) -> None:
    LibvirtGuests(connection).find(guest.name)
    daemon.kill()
    daemon.start()
    daemon.stop()
    daemon.start()
    LibvirtGuests(connection).find(guest.name)
    assert connection.in_doubt(InstanceId(guest.uuid))


def test_a_clean_stop_leaves_no_doubt(
    daemon: Victim, connection: LibvirtConnection, guest: Guest, ear: Ear
) -> None:
    daemon.stop()
    ear.forget()
    daemon.start()
    assert GuestInDoubt(instance=InstanceId(guest.uuid)) not in told(ear, guest)
    LibvirtGuests(connection).find(guest.name)
    assert not connection.in_doubt(InstanceId(guest.uuid))


def test_a_connection_that_broke_under_a_living_libvirtd_leaves_no_doubt(
    connection: LibvirtConnection, guest: Guest
) -> None:
    guests = LibvirtGuests(connection)
    guests.find(guest.name)
    with connection.use() as opened:
        pass
    connection._open_within(1.0).lose("planted")  # noqa: SLF001 - no other way to break it
    guests.find(guest.name)
    with connection.use() as again:
        assert again is not opened
    assert not connection.in_doubt(InstanceId(guest.uuid))


def test_a_guest_that_stops_is_in_doubt_no_longer(
    daemon: Victim, connection: LibvirtConnection, guest: Guest, ear: Ear
) -> None:
    instance = InstanceId(guest.uuid)
    connection.doubt(instance)
    ear.until(GuestInDoubt(instance=instance))
    with connection.domain(instance) as domain:
        domain.destroy()
    while connection.in_doubt(instance):
        ear.until(PowerChanged(instance=instance))


def test_what_is_not_known_may_have_died(daemon: Victim) -> None:
    assert Daemon.at("qemu+tcp://elsewhere/system").may_have_died()
    assert Daemon.at(f"qemu+unix:///system?socket={daemon.state}/no/where/at/all").may_have_died()
    assert not Daemon.at(daemon.start()).may_have_died()


def test_a_libvirtd_that_hangs_keeps_no_caller_beyond_its_patience(
    daemon: Victim, connection: LibvirtConnection, guest: Guest
) -> None:
    guests = LibvirtGuests(connection)
    with daemon.frozen():
        calls = [in_the_background(lambda: guests.find(guest.name)) for _ in range(3)]
        for call in calls:
            with pytest.raises(HypervisorUnavailable, match="hangs"):
                call.result(SOON)
    assert guests.find(guest.name).instance == guest.uuid
    assert not connection.in_doubt(InstanceId(guest.uuid))


def test_a_libvirtd_that_hangs_keeps_no_one_from_closing(
    daemon: Victim, connection: LibvirtConnection, guest: Guest, ear: Ear
) -> None:
    with daemon.frozen():
        in_the_background(connection.close).result(SOON / 2)
        with pytest.raises(HypervisorUnavailable, match="closed"):
            LibvirtGuests(connection).find(guest.name)


def test_a_connection_that_opens_after_it_was_closed_is_closed_again(daemon: Victim) -> None:
    before = set(threading.enumerate())
    connection = LibvirtConnection(daemon.start(), patience=0.5)
    with daemon.frozen():
        connection.subscribe(lambda _event: None)
        in_the_background(connection.close).result(SOON / 2)
    for thread in set(threading.enumerate()) - before:
        if thread.name != "libvirt-events":
            thread.join(SOON)
            assert not thread.is_alive(), thread.name
    assert connection._session is None  # noqa: SLF001 - nobody else would notice
    with pytest.raises(HypervisorUnavailable, match="closed"):
        LibvirtGuests(connection).find("any")
