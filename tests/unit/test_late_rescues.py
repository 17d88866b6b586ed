"""Rescues that last longer than they may: ended by the worker itself, sooner or later."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests import fakes
from tests.fakes.database import FakeOperations
from tests.fakes.world import World
from tests.unit import power_scenes
from tests.unit.scenes import INSTANCE, operation, run
from worker.model.ids import ImageId
from worker.model.image import GIB, Image
from worker.model.instance import Instance, VmState
from worker.model.operation import Operation, OperationState
from worker.ports import Ports
from worker.rpc.dispatch import Dispatcher
from worker.wiring.late_rescues import LONGEST_PAUSE, OFF_PAUSE, LateRescues

TIMEOUT = 600.0
IMAGE = ImageId("rescue")
RESCUE = operation("rescue_instance", instance_uuid=INSTANCE, rescue_image_ref=IMAGE)


class Host:
    """A world with a guest in rescue, and the sweep of its worker."""

    def __init__(self) -> None:
        self.world = power_scenes.on()
        properties = {"hw_rescue_bus": "usb"}
        image = Image(id=IMAGE, name="rescue", format="raw", size=GIB, properties=properties)
        self.world.images[IMAGE] = image
        self.timeout = TIMEOUT
        self.submitted: list[Operation] = []
        dispatcher = Dispatcher(self.open_call, self.submitted.append)
        self.sweep = LateRescues(self.open_call, dispatcher, lambda: self.timeout)
        self.rescue(1)

    @contextmanager
    def open_call(self) -> Iterator[Ports]:
        yield fakes.ports(self.world)
        self.world.commit()

    def rescue(self, number: int) -> None:
        asked = replace(RESCUE, id=operation("rescue_instance", number=number).id)
        assert run(self.world, asked).fault is None

    def pass_time(self, seconds: float) -> None:
        self.world.now += timedelta(seconds=seconds)

    def look(self) -> list[str]:
        """Look; return what was asked so far."""
        self.sweep.look()
        return [each.method for each in self.submitted]

    def accept(self, asked: Operation, state: OperationState) -> None:
        """Have an operation of others be in the journal."""
        fakes.ports(self.world).operations.accept(replace(asked, state=state))

    @property
    def instance(self) -> Instance:
        return self.world.instances[INSTANCE]


UNRESCUE = ["unrescue_instance"]


@pytest.fixture
def host() -> Host:
    return Host()


def test_one_that_is_late_is_unrescued_as_the_workers_own_operation(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    host.pass_time(TIMEOUT + 1)
    with caplog.at_level("INFO"):
        assert host.look() == UNRESCUE
    (asked,) = host.submitted
    assert asked.own
    (line,) = [one.getMessage() for one in caplog.records if "timed out" in one.getMessage()]
    said = f"instance={INSTANCE} rescue_timeout=600 operation={asked.id}"
    assert line == f"rescue timed out: {said}"
    assert run(host.world, asked).fault is None
    assert (host.instance.vm_state, host.instance.rescue) == (VmState.ACTIVE, None)
    assert host.world.events()[-2:] == ["instance.unrescue.start", "instance.unrescue.end"]
    assert host.look() == UNRESCUE


def test_a_young_one_stays(host: Host) -> None:
    host.pass_time(TIMEOUT - 1)
    assert host.look() == []


def test_zero_leaves_it_in_rescue_until_another_value_is_read(host: Host) -> None:
    host.timeout = 0.0
    host.pass_time(1e6)
    assert host.look() == []
    assert host.sweep.pause() == OFF_PAUSE
    host.timeout = TIMEOUT
    assert host.look() == UNRESCUE


def test_after_a_failure_it_is_asked_again_with_pauses_that_double_up_to_a_day(host: Host) -> None:
    host.pass_time(TIMEOUT + 1)
    host.world.unreachable.add(power_scenes.ROOT_VOLUME)
    pauses = [10, 20, 40, 80, 160, 320, 640, 1280] + [1440] * 40
    for minutes in pauses:
        asked = host.look()
        assert host.look() == asked
        assert run(host.world, host.submitted[-1]).fault is not None
        assert host.instance.vm_state is VmState.RESCUED
        host.pass_time(minutes * 60 - 1)
        assert host.look() == asked
        host.pass_time(1)
    host.world.unreachable.clear()
    assert len(host.look()) == len(pauses) + 1
    assert run(host.world, host.submitted[-1]).fault is None
    assert host.instance.vm_state is VmState.ACTIVE


def test_what_a_caller_failed_at_is_no_failure_of_the_workers_own(host: Host) -> None:
    host.pass_time(TIMEOUT + 1)
    host.world.unreachable.add(power_scenes.ROOT_VOLUME)
    meant = {"instance_uuid": INSTANCE, "rescue_operation": RESCUE.id}
    theirs = operation("unrescue_instance", number=7, **meant)
    assert run(host.world, theirs).fault is not None
    assert host.look() == UNRESCUE


def test_what_failed_in_one_rescue_puts_off_the_end_of_no_other(host: Host) -> None:
    host.pass_time(TIMEOUT + 1)
    host.look()
    host.world.unreachable.add(power_scenes.ROOT_VOLUME)
    assert run(host.world, host.submitted[0]).fault is not None
    host.world.unreachable.clear()
    theirs = operation("unrescue_instance", number=7, instance_uuid=INSTANCE)
    assert run(host.world, theirs).fault is None
    host.timeout = 1.0
    host.rescue(2)
    host.pass_time(1)
    assert host.look() == UNRESCUE * 2


def test_one_of_its_own_that_is_stuck_is_not_asked_again(host: Host) -> None:
    host.pass_time(TIMEOUT + 1)
    host.look()
    stuck = replace(host.submitted[0], state=OperationState.STUCK, ended_at=host.world.now)
    host.world.operations[stuck.id] = stuck
    host.pass_time(1e6)
    assert host.look() == UNRESCUE


def test_a_rescue_that_begins_before_its_turn_is_not_ended(host: Host) -> None:
    host.pass_time(TIMEOUT + 1)
    host.look()
    theirs = operation("unrescue_instance", number=7, instance_uuid=INSTANCE)
    assert run(host.world, theirs).fault is None
    host.rescue(2)
    fault = run(host.world, host.submitted[0]).fault
    assert fault is not None
    assert fault.code == "instance.wrong_state"
    assert host.instance.vm_state is VmState.RESCUED
    host.pass_time(TIMEOUT)
    assert host.look() == UNRESCUE * 2


class Read(FakeOperations):
    """A journal that keeps what was read of it."""

    def __init__(self, world: World, read: list[Operation]) -> None:
        super().__init__(world)
        self._read = read

    def list(self, **which: Any) -> tuple[Operation, ...]:  # noqa: ANN401 - as the port has it
        found = super().list(**which)
        self._read += found
        return found


def test_what_succeeded_is_not_gone_through_at_each_look(host: Host) -> None:
    host.pass_time(TIMEOUT + 1)
    done = operation("attach_volume", number=7, instance_uuid=INSTANCE)
    host.accept(done, OperationState.SUCCEEDED)
    read: list[Operation] = []

    @contextmanager
    def open_call() -> Iterator[Ports]:
        yield replace(fakes.ports(host.world), operations=Read(host.world, read))

    LateRescues(open_call, Dispatcher(host.open_call, host.submitted.append), lambda: 600).look()
    assert [each.method for each in host.submitted] == UNRESCUE
    assert read == []


def test_the_next_rescue_has_its_own_time(host: Host) -> None:
    host.pass_time(TIMEOUT + 1)
    host.look()
    assert run(host.world, host.submitted[0]).fault is None
    host.pass_time(1)
    host.rescue(2)
    host.pass_time(TIMEOUT - 1)
    assert host.look() == UNRESCUE
    host.pass_time(1)
    assert host.look() == UNRESCUE * 2


@pytest.mark.parametrize("state", [OperationState.QUEUED, OperationState.RUNNING])
def test_what_is_under_way_is_waited_for(host: Host, state: OperationState) -> None:
    host.pass_time(TIMEOUT + 1)
    host.accept(operation("unrescue_instance", number=7, instance_uuid=INSTANCE), state)
    assert host.look() == []


@pytest.mark.parametrize(
    ("method", "asked"),
    [("unrescue_instance", []), ("of_a_newer_release", []), ("detach_volume", UNRESCUE)],
)
def test_one_that_is_stuck_is_an_operators_if_it_keeps_the_instance(
    host: Host, method: str, asked: list[str]
) -> None:
    host.pass_time(TIMEOUT + 1)
    host.accept(operation(method, number=7, instance_uuid=INSTANCE), OperationState.STUCK)
    assert host.look() == asked


@pytest.mark.parametrize("state", [VmState.ACTIVE, VmState.STOPPED])
def test_one_that_is_on_its_way_into_rescue_is_not_in_it(host: Host, state: VmState) -> None:
    host.pass_time(TIMEOUT + 1)
    host.world.instances[INSTANCE] = replace(host.instance, vm_state=state)
    assert host.look() == []


def test_one_whose_rescue_has_not_begun_is_not_late(host: Host) -> None:
    assert host.instance.rescue is not None
    begun = replace(host.instance.rescue, since=None)
    host.world.instances[INSTANCE] = replace(host.instance, rescue=begun)
    host.pass_time(TIMEOUT + 1)
    assert host.look() == []


@pytest.mark.parametrize(("seconds", "pause"), [(10.0, 1.0), (86400.0, LONGEST_PAUSE)])
def test_it_looks_ten_times_in_that_time_and_once_a_minute_at_least(
    host: Host, seconds: float, pause: float
) -> None:
    host.timeout = seconds
    assert host.sweep.pause() == pause
