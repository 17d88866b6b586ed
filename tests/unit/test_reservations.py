"""Reservations that nobody came for: released and told, but never ahead of a backlog."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit import scenes
from tests.unit.scenes import DEVICE, INSTANCE, Refusing, operation, run
from worker.model.block_device import DeviceStatus
from worker.model.operation import Operation
from worker.ports import Ports
from worker.rpc.dispatch import Dispatcher
from worker.wiring.reservations import Reservations

TTL = 60.0


class Host:
    """A world, and the sweeper of its worker."""

    def __init__(self, ttl: float = TTL) -> None:
        self.world = scenes.world()
        self.submitted: list[Operation] = []
        self.backlog_taken = threading.Event()
        dispatcher = Dispatcher(self.open_call, self.submitted.append)
        self.reservations = Reservations(
            self.open_call, dispatcher, lambda: ttl, self.backlog_taken
        )
        scenes.reserve(self.world)

    @contextmanager
    def open_call(self) -> Iterator[Ports]:
        yield fakes.ports(self.world)
        self.world.commit()

    def asked(self) -> list[tuple[str, object]]:
        return [(one.method, one.arguments["bdm_uuid"]) for one in self.submitted]

    def pass_time(self, seconds: float) -> None:
        self.world.now += timedelta(seconds=seconds)


LAPSED = [("release_lapsed_reservation", DEVICE)]


@pytest.fixture
def host() -> Host:
    return Host()


def test_one_that_is_older_than_its_time_is_released_once(host: Host) -> None:
    host.backlog_taken.set()
    host.pass_time(TTL + 1)
    host.reservations.look()
    host.reservations.look()
    assert host.asked() == LAPSED
    assert run(host.world, host.submitted[0]).fault is None
    assert host.world.rows == {}
    assert host.world.events() == ["block_device.reserved", "block_device.released"]


def test_one_that_could_not_be_released_is_asked_for_again(host: Host) -> None:
    host.backlog_taken.set()
    host.pass_time(TTL + 1)
    host.reservations.look()
    assert run(host.world, host.submitted[0], Refusing("attachments.find")).fault is not None
    host.reservations.look()
    assert host.asked() == LAPSED * 2
    assert run(host.world, host.submitted[1]).fault is None
    assert host.world.rows == {}


def test_a_young_one_stays(host: Host) -> None:
    host.backlog_taken.set()
    host.pass_time(TTL - 1)
    host.reservations.look()
    assert host.asked() == []


def test_nothing_is_released_while_an_attach_may_wait_in_the_queue(host: Host) -> None:
    host.pass_time(TTL + 1)
    host.reservations.look()
    assert host.asked() == []
    host.backlog_taken.set()
    host.reservations.look()
    assert host.asked() == LAPSED


def test_zero_keeps_it_for_ever() -> None:
    host = Host(ttl=0.0)
    host.backlog_taken.set()
    host.pass_time(1e6)
    host.reservations.look()
    assert host.asked() == []


def test_an_attach_that_was_accepted_before_has_the_row(host: Host) -> None:
    host.backlog_taken.set()
    host.pass_time(TTL + 1)
    host.reservations.look()
    assert run(host.world, operation("attach_volume", **scenes.attach_arguments())).fault is None
    assert run(host.world, host.submitted[0]).fault is None
    assert host.world.rows[DEVICE].status is DeviceStatus.ATTACHED


def test_one_that_is_gone_is_nothing_to_do() -> None:
    world: World = scenes.world()
    asked = operation(
        "release_lapsed_reservation", number=3, instance_uuid=INSTANCE, bdm_uuid=DEVICE
    )
    assert run(world, asked).fault is None
