"""How an unplug takes libvirt's answers, those that a real guest seldom gives included."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import libvirt
import pytest

from worker.errors import (
    DomainNotFound,
    GuestBusy,
    HypervisorRefused,
    HypervisorUnavailable,
    WorkerError,
)
from worker.model.ids import InstanceId, new_uuid
from worker.virt.disks import LibvirtGuestDisks
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.libvirtd.events import Events
from worker.virt.libvirtd.session import Session

INSTANCE = InstanceId(new_uuid())
ALIAS = "ua-6ad1ac43-7ac3-4a0d-bcd7-d5b5a1a1a2d1"
WITH_DISK = f"<domain><devices><disk><alias name='{ALIAS}'/></disk></devices></domain>"
WITHOUT_DISK = "<domain><devices/></domain>"
LONG = 10.0
ASKED_BEFORE = (
    libvirt.VIR_ERR_INTERNAL_ERROR,
    f"internal error: 'device_del': Device {ALIAS} is already in the process of unplug",
)


def libvirt_error(code: int, message: str, domain: int = libvirt.VIR_FROM_QEMU) -> Exception:
    """An error as libvirt's binding fills it in after a call that failed."""
    # It would take the words of this thread's last real error instead of ours.
    libvirt.virResetLastError()
    error = libvirt.libvirtError(message)
    error.err = (code, domain, message, 2, None, None, None, -1, -1)
    return error  # type: ignore[no-any-return]


class StubDomain:
    """A domain of one disk; ``answers`` are what its detaches do, one after another."""

    def __init__(self, answers: Sequence[Callable[[], None]]) -> None:
        self.answers = iter(answers)
        self.plugged = True
        self.asked: list[int] = []

    def isActive(self) -> bool:  # noqa: N802 - libvirt's name
        return True

    def XMLDesc(self, _flags: int) -> str:  # noqa: N802
        return WITH_DISK if self.plugged else WITHOUT_DISK

    def detachDeviceAlias(self, alias: str, flags: int) -> None:  # noqa: N802
        assert alias == ALIAS
        self.asked.append(flags)
        next(self.answers)()


class StubConnection(LibvirtConnection):
    """The connection, but for the call that opens it; each look-up may fail once."""

    def __init__(self) -> None:
        super().__init__("stub:///")
        self.events: Events = self._events
        self.domains: Iterator[StubDomain | Exception] = iter(())
        self.reopened: list[float] = []

    def lookupByUUIDString(self, uuid: str) -> StubDomain:  # noqa: N802
        assert uuid == INSTANCE
        found = next(self.domains)
        if isinstance(found, Exception):
            raise found
        return found

    def _open_within(self, seconds: float) -> Session:
        self.reopened.append(seconds)
        return Session(self, self._events, self._lost)


class Scene:
    def __init__(self, attempts: int, interval: float) -> None:
        self.connection = StubConnection()
        self.disks = LibvirtGuestDisks(
            self.connection, detach_retry_interval=interval, detach_attempts=attempts
        )
        self.domain = StubDomain([])

    def answers(self, *answers: Callable[[], None]) -> "Scene":
        self.domain = StubDomain(answers)
        self.connection.domains = iter(lambda: self.domain, None)
        return self

    def unplug(self) -> float:
        begun = time.monotonic()
        self.disks.unplug(INSTANCE, ALIAS)
        return time.monotonic() - begun

    def lets_go(self) -> None:
        self.domain.plugged = False
        self.connection.events.tell_removed(INSTANCE, ALIAS)

    def lets_go_later(self) -> None:
        threading.Timer(0.05, self.lets_go).start()

    def refuses(self) -> None:
        self.connection.events.tell_refused(INSTANCE, ALIAS)

    def another_refuses(self) -> None:
        self.connection.events.tell_refused(INSTANCE, "ua-another")
        self.connection.events.tell_refused(InstanceId(new_uuid()), ALIAS)

    def loses_the_connection(self) -> None:
        self.connection.events.tell_lost()


def raises(code: int, message: str) -> Callable[[], None]:
    def answer() -> None:
        raise libvirt_error(code, message)

    return answer


def says_nothing() -> None:
    """A detach that is accepted, and of which nothing is heard."""


@pytest.fixture
def patient() -> Scene:
    return Scene(attempts=3, interval=LONG)


@pytest.fixture
def hurried() -> Scene:
    return Scene(attempts=3, interval=0.05)


def test_a_guest_that_lets_go_before_libvirt_has_answered_is_heard(patient: Scene) -> None:
    assert patient.answers(patient.lets_go).unplug() < LONG / 2


def test_the_event_ends_the_wait(patient: Scene) -> None:
    assert patient.answers(patient.lets_go_later).unplug() < LONG / 2
    assert patient.domain.asked == [libvirt.VIR_DOMAIN_AFFECT_LIVE]


def test_a_refusal_ends_the_wait_and_nobody_asks_again(patient: Scene) -> None:
    begun = time.monotonic()
    with pytest.raises(GuestBusy, match="refused"):
        patient.answers(patient.refuses).unplug()
    assert time.monotonic() - begun < LONG / 2
    assert len(patient.domain.asked) == 1


def test_what_other_devices_do_is_none_of_our_business(hurried: Scene) -> None:
    hurried.answers(hurried.another_refuses, hurried.another_refuses, hurried.lets_go).unplug()
    assert len(hurried.domain.asked) == 3


def test_a_guest_asked_before_is_waited_for(patient: Scene) -> None:
    def asked_before() -> None:
        patient.lets_go_later()
        raise libvirt_error(*ASKED_BEFORE)

    assert 0.04 < patient.answers(asked_before).unplug() < LONG / 2


def test_a_guest_that_never_lets_go_is_busy(
    hurried: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(GuestBusy, match="asked 3 times"):
        hurried.answers(says_nothing, raises(*ASKED_BEFORE), raises(*ASKED_BEFORE)).unplug()
    assert caplog.messages == [
        f"guest keeps device: instance={INSTANCE} alias={ALIAS} attempt={attempt}/3"
        for attempt in (1, 2, 3)
    ]


def test_a_guest_that_lets_go_after_the_last_wait_is_not_busy(hurried: Scene) -> None:
    def unheard() -> None:
        hurried.domain.plugged = False

    hurried.answers(says_nothing, says_nothing, unheard).unplug()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (libvirt.VIR_ERR_INTERNAL_ERROR, f"internal error: no device found with alias {ALIAS}"),
        (libvirt.VIR_ERR_OPERATION_INVALID, "Requested operation is not valid: not running"),
        (libvirt.VIR_ERR_DEVICE_MISSING, "device not found"),
        (libvirt.VIR_ERR_NO_DOMAIN, "Domain not found"),
    ],
)
def test_what_is_gone_when_it_is_asked_for_is_gone(patient: Scene, code: int, message: str) -> None:
    assert patient.answers(raises(code, message)).unplug() < LONG / 2


def test_any_other_error_is_libvirts_refusal(patient: Scene) -> None:
    with pytest.raises(HypervisorRefused, match="job"):
        patient.answers(raises(libvirt.VIR_ERR_OPERATION_TIMEOUT, "no job lock")).unplug()


def test_a_lost_connection_is_waited_for_and_the_guest_looked_at_again(patient: Scene) -> None:
    assert patient.answers(patient.loses_the_connection, patient.lets_go).unplug() < LONG / 2
    # Longer than a call may take to open it: libvirtd may be in the middle of a restart.
    assert LONG in patient.connection.reopened


@pytest.mark.parametrize(
    ("code", "domain", "ours"),
    [
        (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_FROM_QEMU, DomainNotFound),
        (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_RPC, HypervisorUnavailable),
        (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_RPC, HypervisorUnavailable),
        (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_QEMU, HypervisorRefused),
        (libvirt.VIR_ERR_INVALID_CONN, libvirt.VIR_FROM_NONE, HypervisorUnavailable),
        (libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_FROM_RPC, HypervisorRefused),
    ],
)
def test_each_error_of_libvirts_is_one_of_ours(
    patient: Scene, code: int, domain: int, ours: type[WorkerError]
) -> None:
    patient.connection.domains = iter([libvirt_error(code, "words of libvirt", domain)])
    with (
        pytest.raises(ours, match="words of libvirt") as raised,
        patient.connection.domain(INSTANCE),
    ):
        pass
    assert isinstance(raised.value.__cause__, libvirt.libvirtError)


def test_an_unplug_of_a_guest_that_is_gone_does_nothing(patient: Scene) -> None:
    patient.connection.domains = iter([libvirt_error(libvirt.VIR_ERR_NO_DOMAIN, "gone")])
    patient.disks.unplug(INSTANCE, ALIAS)


def test_a_disk_that_is_not_shown_yet_is_asked_for_all_the_same(patient: Scene) -> None:
    """Its attach may be under way, by a worker that died in it."""
    missing = raises(libvirt.VIR_ERR_INTERNAL_ERROR, f"no device found with alias {ALIAS}")
    patient.answers(missing).domain.plugged = False
    assert patient.unplug() < LONG / 2
    assert patient.domain.asked == [libvirt.VIR_DOMAIN_AFFECT_LIVE]
