"""Volumes that are missing: tried again now and then, one try at a time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests import fakes
from tests.unit import power_scenes
from tests.unit.power_scenes import DATA, DATA_VOLUME
from tests.unit.runs import LONG
from tests.unit.scenes import INSTANCE, run
from worker.errors import DatabaseUnavailable
from worker.model.block_device import DeviceStatus
from worker.model.instance import TaskState, VmState
from worker.model.operation import Operation
from worker.ports import Ports
from worker.rpc.dispatch import Dispatcher
from worker.wiring.missing import MissingVolumes


class Host:
    """A world with a guest that lacks a volume, and the sweep of its worker."""

    def __init__(self) -> None:
        self.world = power_scenes.missing_while_it_runs()
        self.submitted: list[Operation] = []
        self.failures: list[Exception] = []
        dispatcher = Dispatcher(self.open_call, self.submit)
        self.missing = MissingVolumes(self.open_call, dispatcher, lambda: 0.01)
        self.tried = threading.Event()

    @contextmanager
    def open_call(self) -> Iterator[Ports]:
        if self.failures:
            raise self.failures.pop()
        yield fakes.ports(self.world)
        self.world.commit()

    def submit(self, operation: Operation) -> None:
        self.submitted.append(operation)
        self.tried.set()

    def asked(self) -> list[tuple[str, object]]:
        return [(one.method, one.arguments["bdm_uuid"]) for one in self.submitted]


@pytest.fixture
def host() -> Host:
    return Host()


def test_one_that_is_missing_is_tried_once_at_a_time(host: Host) -> None:
    host.missing.look()
    host.missing.look()
    assert host.asked() == [("return_volume", DATA)]


def test_one_that_is_still_away_is_tried_again(host: Host) -> None:
    host.world.unreachable.add(DATA_VOLUME)
    host.missing.look()
    assert run(host.world, host.submitted[0]).fault is not None
    host.missing.look()
    host.world.unreachable.clear()
    assert run(host.world, host.submitted[1]).fault is None
    assert host.world.rows[DATA].status is DeviceStatus.ATTACHED
    host.missing.look()
    assert len(host.submitted) == 2


@pytest.mark.parametrize("task_state", [TaskState.RELEASED, TaskState.IMPORTING])
def test_one_of_an_instance_that_moves_waits_for_its_import(
    host: Host, task_state: TaskState
) -> None:
    instance = host.world.instances[INSTANCE]
    host.world.instances[INSTANCE] = replace(instance, task_state=task_state)
    host.missing.look()
    assert host.submitted == []


def test_one_of_an_instance_in_rescue_waits_for_its_end(host: Host) -> None:
    instance = host.world.instances[INSTANCE]
    host.world.instances[INSTANCE] = replace(instance, vm_state=VmState.RESCUED)
    host.missing.look()
    assert host.submitted == []
    host.world.instances[INSTANCE] = instance
    host.missing.look()
    assert host.asked() == [("return_volume", DATA)]


def test_what_is_attached_is_left_alone(host: Host) -> None:
    host.world = power_scenes.on()
    host.missing.look()
    assert host.submitted == []


def test_a_failed_look_ends_nothing(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.failures = [DatabaseUnavailable("away"), ZeroDivisionError("a fault of ours")]
    host.missing.start()
    assert host.tried.wait(LONG)
    host.missing.stop()
    assert caplog.text.count("missing volumes not looked at") == 2
