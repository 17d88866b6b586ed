"""The time without a running guest, as the steps of an operation say it."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests import fakes
from tests.unit import scenes
from tests.unit.scenes import INSTANCE, operation, run
from worker.handlers.get_operation import GetOperation, get_operation
from worker.model.downtime import OFF, STARTED, seconds_without_guest
from worker.model.operation import Step, StepOutcome

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def step(
    name: str, at: float, seconds: float | None, outcome: StepOutcome = StepOutcome.DONE
) -> Step:
    return Step(
        number=0,
        attempt=0,
        name=name,
        started_at=NOON + timedelta(seconds=at),
        seconds=seconds,
        outcome=outcome,
    )


def test_it_counts_from_the_begin_of_the_cut_to_the_end_of_the_start() -> None:
    steps = [step("power.cut", 1, 2), step("guests.describe", 3, 1), step("rescues.start", 5, 2)]
    assert seconds_without_guest(steps) == 6


def test_a_guest_that_ends_by_itself_runs_while_it_is_waited_for() -> None:
    steps = [step("power.ask_off", 0, 1), step("power.wait_off", 1, 30), step("power.start", 32, 1)]
    assert seconds_without_guest(steps) == 2


def test_a_wait_that_a_death_cut_off_may_have_seen_the_end_at_once() -> None:
    died = step("power.wait_off", 1, None, StepOutcome.OPEN)
    again = step("power.wait_off", 20, 0)
    assert seconds_without_guest([died, again, step("power.start", 20, 1)]) == 20


def test_a_second_cut_finds_the_guest_as_the_first_has_left_it() -> None:
    died = step("power.cut", 0, None, StepOutcome.OPEN)
    steps = [died, step("power.cut", 9, 1), step("power.start", 10, 1)]
    assert seconds_without_guest(steps) == 11


def test_a_start_that_failed_leaves_the_guest_off_until_the_way_back() -> None:
    failed = step("rescues.start", 1, 1, StepOutcome.FAILED)
    steps = [step("power.cut", 0, 1), failed, step("power.cut", 3, 0), step("power.start", 4, 1)]
    assert seconds_without_guest(steps) == 5


def test_two_times_add_up() -> None:
    once = [step("power.cut", 0, 1), step("power.start", 1, 1)]
    again = [step("power.cut", 10, 1), step("power.start", 12, 1)]
    assert seconds_without_guest([*once, *again]) == 5


def test_a_guest_that_is_only_stopped_or_only_started_has_no_such_time() -> None:
    assert seconds_without_guest([step("power.cut", 0, 1)]) is None
    assert seconds_without_guest([step("power.start", 0, 1)]) is None
    assert seconds_without_guest([]) is None


@given(st.lists(st.sampled_from([*OFF, *STARTED, "guests.describe"])))
def test_it_is_never_longer_than_the_operation(names: list[str]) -> None:
    steps = [step(name, second, 1) for second, name in enumerate(names)]
    found = seconds_without_guest(steps)
    assert found is None or 0 < found <= len(names)


def test_a_reboot_says_it_with_its_steps() -> None:
    world = scenes.world()
    asked = operation("reboot_instance", instance_uuid=INSTANCE, hard=True)
    run(world, asked)

    found = get_operation(GetOperation(operation_id=asked.id), fakes.ports(world))

    assert {"power.cut", "power.start"} <= {step["name"] for step in found["steps"]}
    assert found["seconds_without_guest"] > 0
