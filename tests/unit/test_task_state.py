"""While its power is changed an instance says so, and no longer, however the change ends."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit import power_scenes
from tests.unit.scenes import INSTANCE, Crash, Refusing, Trouble, operation, run
from worker.handlers.retry_operation import RetryOperation, retry_operation
from worker.model.instance import TaskState, VmState
from worker.model.operation import Operation, OperationState

START = operation("start_instance", instance_uuid=INSTANCE)
STOP = operation("stop_instance", instance_uuid=INSTANCE)
REBOOT = operation("reboot_instance", instance_uuid=INSTANCE)
HARD = operation("reboot_instance", instance_uuid=INSTANCE, hard=True)
RESUME = replace(operation("resume_instance", instance_uuid=INSTANCE), own=True)

CASES: dict[str, tuple[Operation, Callable[[], World]]] = {
    "powering-on": (START, power_scenes.off),
    "powering-off": (STOP, power_scenes.on),
    "rebooting": (REBOOT, power_scenes.on),
    "rebooting_hard": (HARD, power_scenes.on),
}

cases = pytest.mark.parametrize("word", CASES)


class Watching:
    """A watch that notes what the instance says at each call, as others read it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.said: list[str | None] = []

    def __call__(self, name: str) -> AbstractContextManager[None]:
        return self._around(name)

    @contextmanager
    def _around(self, _name: str) -> Iterator[None]:
        self.said.append(task_of(self.world))
        yield


def task_of(world: World) -> str | None:
    return world.instances[INSTANCE].task_state


@cases
def test_it_says_so_from_the_first_call_to_the_last_and_no_longer(word: str) -> None:
    asked, make = CASES[word]
    world = make()
    watching = Watching(world)
    assert run(world, asked, watching).fault is None
    assert set(watching.said) == {word}
    assert task_of(world) is None


def test_a_guest_that_is_resumed_is_powered_on() -> None:
    world = power_scenes.host_booted()
    watching = Watching(world)
    assert run(world, RESUME, watching).fault is None
    assert (set(watching.said), task_of(world)) == ({"powering-on"}, None)


@cases
def test_one_that_fails_says_it_no_longer(word: str) -> None:
    asked, make = CASES[word]
    world = make()
    assert run(world, asked, Trouble(at=0)).state is OperationState.FAILED
    assert task_of(world) is None


def test_one_that_is_stuck_says_it_no_longer_and_again_when_it_is_retried() -> None:
    world = power_scenes.on()
    assert run(world, HARD, Refusing("power.start")).state is OperationState.STUCK
    assert task_of(world) is None
    retry_operation(RetryOperation(operation_id=HARD.id), fakes.ports(world))
    watching = Watching(world)
    assert run(world, HARD, watching).state is OperationState.SUCCEEDED
    assert (set(watching.said), task_of(world)) == ({"rebooting_hard"}, None)


@cases
def test_the_run_after_a_kill_clears_it(word: str) -> None:
    asked, make = CASES[word]
    world = make()
    with pytest.raises(Crash):
        run(world, asked, Trouble(at=0, error=Crash))
    world.crash()
    assert task_of(world) == word
    assert run(world, asked).fault is None
    assert task_of(world) is None


def test_what_another_part_says_of_the_instance_stays() -> None:
    world = power_scenes.off()
    world.instances[INSTANCE] = replace(world.instances[INSTANCE], task_state=TaskState.RELEASED)
    run(world, START)
    assert task_of(world) == TaskState.RELEASED


def test_one_that_is_refused_has_never_said_it() -> None:
    world = power_scenes.off()
    world.instances[INSTANCE] = replace(world.instances[INSTANCE], vm_state=VmState.PAUSED)
    assert run(world, START).state is OperationState.FAILED
    assert task_of(world) is None


def test_a_word_of_another_release_is_told_as_it_was() -> None:
    newer = TaskState("resizing")
    instance = replace(power_scenes.on().instances[INSTANCE], task_state=newer)
    assert (newer, instance.public()["task_state"]) == ("resizing", "resizing")
    assert newer not in list(TaskState)


def test_what_is_no_text_is_no_task() -> None:
    with pytest.raises(ValueError, match="5"):
        TaskState(5)  # type: ignore[arg-type]
