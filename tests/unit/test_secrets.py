"""No secret at rest: a planted password is searched for in everything that is kept or told."""

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests import fakes
from tests.fakes.volume_service import PASSWORD, connection_of
from tests.fakes.world import World
from tests.unit import scenes
from tests.unit.scenes import (
    DEVICE,
    INSTANCE,
    VOLUME,
    Crash,
    Refusing,
    Trouble,
    operation,
    run,
)
from worker.errors import ConnectFailed
from worker.handlers.get_block_device import GetBlockDevice, get_block_device
from worker.handlers.get_operation import GetOperation, get_operation
from worker.handlers.list_block_devices import ListBlockDevices, list_block_devices
from worker.model.connection import Connection
from worker.model.disk import disk_of
from worker.model.operation import OperationState
from worker.model.source import BlockSource, DiskOptions, HostVolume

ATTACH = operation("attach_volume", **scenes.attach_arguments())
DETACH = operation("detach_volume", 2, **scenes.detach_arguments())
CALLS_OF_AN_ATTACH = 9


def kept(world: World) -> Iterator[object]:
    """Yield what is kept, each thing open to the bottom: what a repr hides is shown."""
    for connection in world.connections.values():
        yield connection.properties
    for row in (*world.rows.values(), *world.removed.values()):
        yield row
        yield row.public()
        yield None if row.connection is None else row.connection.properties
    for each in world.operations.values():
        yield each
        yield fakes.ports(world).operations.get(each.id).public()
    yield world.steps


def told(world: World) -> Iterator[object]:
    """Yield what is told, as it goes out."""
    for update in world.told:
        yield update
        yield None if update.block_device is None else update.block_device.public()


def answers(world: World) -> Iterator[object]:
    """Yield what a caller is answered."""
    ports = fakes.ports(world)
    yield list_block_devices(ListBlockDevices(instance_uuid=INSTANCE), ports)
    if DEVICE in world.rows:
        yield get_block_device(GetBlockDevice(instance_uuid=INSTANCE, volume_id=VOLUME), ports)
    for each in world.operations:
        yield get_operation(GetOperation(operation_id=each), ports)


def search(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Assert that the password is nowhere but where the volume service itself has it."""
    for found in (*kept(world), *told(world), *answers(world)):
        assert PASSWORD not in repr(found)
    for record in caplog.records:
        trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
        assert PASSWORD not in record.getMessage() + repr(record.args) + trace
    assert PASSWORD not in caplog.text
    assert PASSWORD not in repr(world)


@pytest.fixture
def world(caplog: pytest.LogCaptureFixture) -> World:
    """A world with a reservation, its whole log caught."""
    caplog.set_level(logging.DEBUG)
    world = scenes.world()
    scenes.reserve(world)
    return world


class Searching:
    """A watch that searches the world before and after each outside call."""

    def __init__(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        self.world = world
        self.caplog = caplog
        self.count = 0

    def __call__(self, _name: str) -> AbstractContextManager[None]:
        return self._around()

    @contextmanager
    def _around(self) -> Iterator[None]:
        self.count += 1
        search(self.world, self.caplog)
        try:
            yield
        finally:
            search(self.world, self.caplog)


def test_the_password_is_planted_and_would_be_found(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection is made with the password, and the search sees into what a repr hides."""
    assert PASSWORD in repr(connection_of(VOLUME).properties)
    world.connections[DEVICE] = connection_of(VOLUME)

    with pytest.raises(AssertionError):
        search(world, caplog)


def test_none_is_left_by_an_attach_and_a_detach_at_any_moment(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    watch = Searching(world, caplog)

    for asked in (ATTACH, DETACH):
        assert run(world, asked, watch).state is OperationState.SUCCEEDED
        search(world, caplog)

    assert watch.count > CALLS_OF_AN_ATTACH


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("at", range(CALLS_OF_AN_ATTACH))
def test_none_is_left_by_an_attach_that_fails(
    world: World, caplog: pytest.LogCaptureFixture, at: int, *, late: bool
) -> None:
    run(world, ATTACH, Trouble(at=at, after=late), Searching(world, caplog))

    search(world, caplog)


@pytest.mark.parametrize("at", range(CALLS_OF_AN_ATTACH))
def test_none_is_left_by_a_worker_that_dies_nor_by_the_next(
    world: World, caplog: pytest.LogCaptureFixture, at: int
) -> None:
    with pytest.raises(Crash):
        run(world, ATTACH, Trouble(at=at, after=True, error=Crash))
    world.crash()
    search(world, caplog)

    run(world, ATTACH)

    search(world, caplog)


def stuck_attach(world: World) -> None:
    trouble = Trouble(at=CALLS_OF_AN_ATTACH - 1)
    ended = run(world, ATTACH, trouble, Refusing("disks.unplug"))
    assert ended.state is OperationState.STUCK


def busy_detach(world: World) -> None:
    run(world, ATTACH)
    world.guests[INSTANCE].busy = True
    assert run(world, DETACH).state is OperationState.FAILED


def stuck_detach(world: World) -> None:
    run(world, ATTACH)
    ended = run(world, DETACH, Refusing("connector.disconnect"))
    assert ended.state is OperationState.STUCK


def too_small(world: World) -> None:
    world.sizes[VOLUME] = 1
    assert run(world, ATTACH).state is OperationState.FAILED


@pytest.mark.parametrize("bad_end", [stuck_attach, busy_detach, stuck_detach, too_small])
def test_none_is_left_by_a_bad_end(
    world: World, caplog: pytest.LogCaptureFixture, bad_end: Callable[[World], None]
) -> None:
    bad_end(world)

    search(world, caplog)


def unknown(_step: str) -> BaseException:
    return RuntimeError(f"login with {PASSWORD} failed")


@pytest.mark.parametrize("back", [None, "disks.unplug", "connector.disconnect"])
def test_an_error_that_quotes_it_is_neither_kept_nor_told(world: World, back: str | None) -> None:
    """The log of such an error is the adapter's business, which alone knows what is secret."""
    watches: list[Any] = [Trouble(at=CALLS_OF_AN_ATTACH - 1, error=unknown)]
    if back is not None:
        watches.append(Refusing(back))

    ended = run(world, ATTACH, *watches)

    assert ended.state is (OperationState.STUCK if back else OperationState.FAILED)
    for found in (*kept(world), *told(world), *answers(world)):
        assert PASSWORD not in repr(found)


def test_what_the_guest_is_given_holds_none(world: World) -> None:
    connection = connection_of(VOLUME)
    row = replace(world.rows[DEVICE], connection=connection)
    volume = HostVolume(source=BlockSource(path="/dev/x"), options=DiskOptions())

    assert PASSWORD not in repr(row)
    assert PASSWORD not in repr(row.public())
    assert PASSWORD not in repr(disk_of(row, volume))


def test_an_error_about_a_connection_does_not_show_it() -> None:
    connection = Connection(protocol="iscsi", properties={"auth_password": PASSWORD})

    assert PASSWORD not in str(ConnectFailed(f"no {connection} here {connection!r}"))
