from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

import pytest
from sqlalchemy import Connection, event

from tests.contract.persistence.scenes import (
    HOST,
    START,
    SteppedClock,
    an_operation,
    steps_of_sqlite,
)
from worker.errors import DatabaseUnavailable, OperationConflict, OperationNotFound
from worker.execution import NOT_OVERTAKEN
from worker.model.ids import BlockDeviceId, InstanceId, OperationId, new_uuid
from worker.model.operation import Fault, Operation, OperationState, StepOutcome
from worker.model.update import Event, Update
from worker.persistence.database import Database
from worker.persistence.engine import make_engine
from worker.persistence.journal.progress import SqlOperationRecord
from worker.persistence.repositories import Repositories

ResultT = TypeVar("ResultT")

DIED = Fault(code="connector.failed", message="no path to the target")


def page(repositories: Repositories, operation: Operation) -> SqlOperationRecord:
    record = repositories.for_operation(operation).record
    assert record is not None
    return record


def test_an_operation_is_kept_as_it_was_given(repositories: Repositories) -> None:
    operation = an_operation(
        arguments={"instance_uuid": "i", "force": True, "size": None, "größe": 3},
        instance=InstanceId(new_uuid()),
        block_device=BlockDeviceId(new_uuid()),
        request_id="req-1",
        own=True,
        expires_at=START + timedelta(minutes=5),
    )
    kept, new = repositories.operations.accept(operation)
    assert new
    assert kept == replace(operation, accepted_at=START)
    assert repositories.operations.get(operation.id) == kept


def test_the_same_again_changes_nothing(repositories: Repositories, clock: SteppedClock) -> None:
    operation = an_operation()
    kept, _ = repositories.operations.accept(operation)
    page(repositories, kept).end(OperationState.FAILED, DIED, None)
    clock.pass_seconds(9)
    reordered = replace(operation, arguments=dict(reversed(list(operation.arguments.items()))))
    found, new = repositories.operations.accept(reordered)
    assert not new
    assert (found.state, found.accepted_at, found.fault) == (OperationState.FAILED, START, DIED)


@pytest.mark.parametrize("other", [{"method": "detach_volume"}, {"arguments": {"a": 1}}])
def test_an_id_used_for_something_else_is_refused(
    repositories: Repositories, other: dict[str, object]
) -> None:
    operation = an_operation()
    repositories.operations.accept(operation)
    with pytest.raises(OperationConflict):
        repositories.operations.accept(an_operation(**({"id": operation.id} | other)))


def test_several_are_kept_at_once_in_their_order(repositories: Repositories) -> None:
    asked = [an_operation() for _ in range(3)]
    kept = repositories.operations.accept_new(asked)
    assert kept == tuple(replace(each, accepted_at=START) for each in asked)
    assert repositories.operations.unfinished() == kept


def test_several_are_kept_only_if_all_are_new(repositories: Repositories) -> None:
    known, other = an_operation(), an_operation()
    repositories.operations.accept(known)
    for batch in ([other, known], [other, other]):
        with pytest.raises(OperationConflict):
            repositories.operations.accept_new(batch)
    assert [each.id for each in repositories.operations.unfinished()] == [known.id]


def test_an_id_of_another_host_is_refused(
    repositories: Repositories, database: Database, clock: SteppedClock
) -> None:
    operation = an_operation()
    Repositories(database, "host-2", clock).operations.accept(operation)
    with pytest.raises(OperationConflict):
        repositories.operations.accept(operation)
    with pytest.raises(OperationNotFound):
        repositories.operations.get(operation.id)


def test_an_unknown_operation_is_not_found(repositories: Repositories) -> None:
    with pytest.raises(OperationNotFound):
        repositories.operations.get(OperationId(new_uuid()))


def test_a_run_is_written_down_step_by_step(
    repositories: Repositories, clock: SteppedClock
) -> None:
    operation, _ = repositories.operations.accept(an_operation())
    record = page(repositories, operation)
    clock.pass_seconds(1)
    record.start(Update(event=Event.VOLUME_ATTACH_START, instance=None))
    assert record.open_step("guests.describe") == 1
    record.close_step(1, 0.25, None)
    assert record.open_step("connector.connect") == 2
    record.close_step(2, 1.5, DIED)
    clock.pass_seconds(2)
    ended = record.end(OperationState.FAILED, DIED, None)

    assert repositories.operations.get(operation.id) == ended
    assert ended.state is OperationState.FAILED
    assert (ended.started_at, ended.ended_at) == (
        START + timedelta(seconds=1),
        START + timedelta(seconds=3),
    )
    assert [(step.name, step.outcome, step.seconds, step.fault) for step in ended.steps] == [
        ("guests.describe", StepOutcome.DONE, 0.25, None),
        ("connector.connect", StepOutcome.FAILED, 1.5, DIED),
    ]


def test_a_step_is_durable_before_its_call_and_its_end_with_the_next_commit(
    repositories: Repositories,
) -> None:
    operation, _ = repositories.operations.accept(an_operation())
    record = page(repositories, operation)
    record.start(None)
    record.open_step("one")
    record.close_step(1, 0.1, None)
    (one,) = repositories.operations.get(operation.id).steps
    assert one.outcome is StepOutcome.OPEN
    record.open_step("two")
    one, two = repositories.operations.get(operation.id).steps
    assert (one.outcome, two.outcome) == (StepOutcome.DONE, StepOutcome.OPEN)


def test_one_that_never_began_goes_on_counting_what_it_gave_back(
    repositories: Repositories,
) -> None:
    operation, _ = repositories.operations.accept(an_operation())
    page(repositories, operation).open_step("attachments.delete")
    (again,) = repositories.operations.unfinished()
    record = page(repositories, again)
    assert record.count_attempt() == 1
    assert record.open_step("attachments.get", look=True) == 2
    steps = repositories.operations.get(operation.id).steps
    assert [step.name for step in steps] == ["attachments.delete", "attachments.get"]


def test_a_look_is_durable_when_what_follows_it_is(repositories: Repositories) -> None:
    operation, _ = repositories.operations.accept(an_operation())
    record = page(repositories, operation)
    record.start(None)
    record.open_step("one")
    assert record.open_step("two", look=True) == 2
    record.close_step(2, 0.1, DIED)
    assert record.open_step("three", look=True) == 3
    record.close_step(3, 0.2, None)
    assert len(repositories.operations.get(operation.id).steps) == 1
    assert record.open_step("four") == 4
    _, two, three, four = repositories.operations.get(operation.id).steps
    assert (two.outcome, two.seconds, two.fault) == (StepOutcome.FAILED, 0.1, DIED)
    assert (three.outcome, three.seconds, three.fault) == (StepOutcome.DONE, 0.2, None)
    assert four.outcome is StepOutcome.OPEN


def test_a_look_before_anything_is_durable_is_so_itself(repositories: Repositories) -> None:
    """Else an operation that kills its worker there would be new at each start."""
    operation, _ = repositories.operations.accept(an_operation())
    record = page(repositories, operation)
    record.start(None)
    record.open_step("one", look=True)
    (found,) = repositories.operations.unfinished()
    assert found.state is OperationState.RUNNING
    assert [step.outcome for step in found.steps] == [StepOutcome.OPEN]


class Unanswered(Database):
    """A database whose every commit happens, and whose answer is lost."""

    def write(self, change: Callable[[Connection], ResultT]) -> ResultT:
        super().write(change)
        raise DatabaseUnavailable


def test_a_look_whose_commit_was_not_answered_is_written_once(
    repositories: Repositories, database: Database
) -> None:
    operation, _ = repositories.operations.accept(an_operation())
    request = repositories.for_operation(operation)
    assert request.record is not None
    request.record.start(None)
    request.record.open_step("one")
    request.record.close_step(request.record.open_step("two", look=True), 0.1, None)
    request.unit.database = Unanswered(database.engine)
    with pytest.raises(DatabaseUnavailable):
        request.record.open_step("three")
    request.unit.database = database
    request.record.open_step("three")
    steps = repositories.operations.get(operation.id).steps
    assert [step.name for step in steps] == ["one", "two", "three", "three"]


def test_a_look_of_a_second_run_is_durable_before_its_call(repositories: Repositories) -> None:
    operation, _ = repositories.operations.accept(an_operation())
    first = page(repositories, operation)
    first.start(None)
    first.open_step("one")
    first.close_step(1, 0.1, None)
    first.open_step("two")
    (found,) = repositories.operations.unfinished()
    second = page(repositories, found)
    second.count_attempt()
    second.open_step("three", look=True)
    steps = repositories.operations.get(operation.id).steps
    assert [step.name for step in steps] == ["one", "two", "three"]


@pytest.mark.parametrize("kept", ["sqlite"], indirect=True)
def test_what_is_unsettled_is_found_without_going_through_all_that_ended(
    url: str, clock: SteppedClock
) -> None:
    """Each operation asks this at its beginning, and an instance has a long history."""
    engine, asked = make_engine(url), list[str]()
    event.listen(engine, "connect", lambda opened, _: opened.set_trace_callback(asked.append))
    operations = Repositories(Database(engine), HOST, clock).operations
    operations.list(instance=InstanceId(new_uuid()), states=NOT_OVERTAKEN)
    with engine.connect() as connection:
        explained = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked[-1]}")
        (plan,) = [row.detail for row in explained]
    engine.dispose()
    assert plan.endswith("ix_operations_state (host=? AND state=? AND instance_uuid=?)")


@pytest.mark.parametrize("kept", ["sqlite"], indirect=True)
def test_the_newest_are_found_without_going_through_all_that_was_done(
    url: str, clock: SteppedClock
) -> None:
    """While they are looked for on the worker's one connection, nobody writes."""
    database = Database(make_engine(url))
    operations = Repositories(database, HOST, clock).operations
    operations.accept_new([an_operation() for _ in range(2000)])
    steps = steps_of_sqlite(database)
    newest = operations.list(limit=2)
    assert operations.list(limit=2, states=(*OperationState,)) == newest
    database.close()
    assert 100 * len(steps) < 2000


def test_what_is_unfinished_comes_back_in_order_with_its_steps(repositories: Repositories) -> None:
    accepted = [repositories.operations.accept(an_operation())[0] for _ in range(4)]
    for operation in accepted[:2]:
        record = page(repositories, operation)
        record.start(None)
        record.open_step("one")
    page(repositories, accepted[1]).end(OperationState.STUCK, DIED, None)
    found = repositories.operations.unfinished()
    assert [one.id for one in found] == [accepted[0].id, accepted[2].id, accepted[3].id]
    assert [len(one.steps) for one in found] == [1, 0, 0]
    assert found[0].state is OperationState.RUNNING


def test_a_death_in_a_step_is_counted_and_the_step_closed(repositories: Repositories) -> None:
    operation, _ = repositories.operations.accept(an_operation())
    first = page(repositories, operation)
    first.start(None)
    first.open_step("one")
    first.close_step(1, 0.1, None)
    first.open_step("two")

    (found,) = repositories.operations.unfinished()
    second = page(repositories, found)
    assert second.count_attempt() == 1
    (again,) = repositories.operations.unfinished()
    assert again.attempts == 1
    assert [step.outcome for step in again.steps] == [StepOutcome.DONE, StepOutcome.FAILED]
    assert again.steps == second.operation.steps
    assert again.steps[1].fault == Fault(code="worker.died", message="the worker died in this step")

    assert second.open_step("three") == 3
    assert repositories.operations.get(operation.id).steps[2].attempt == 1


def test_what_is_left_to_the_next_worker_is_durable_and_no_death(
    repositories: Repositories,
) -> None:
    operation = an_operation()
    repositories.operations.accept(operation)
    record = page(repositories, operation)
    record.start(None)
    record.close_step(record.open_step("connector.connect"), 0.5, DIED)
    record.leave()
    (left,) = repositories.operations.unfinished()
    assert (left.state, left.attempts) == (OperationState.RUNNING, 0)
    assert [step.outcome for step in left.steps] == [StepOutcome.FAILED]


def test_a_page_opened_without_its_steps_numbers_on(repositories: Repositories) -> None:
    operation, _ = repositories.operations.accept(an_operation())
    first = page(repositories, operation)
    first.start(None)
    first.open_step("one")
    (listed,) = repositories.operations.list()
    assert listed.steps == ()
    assert page(repositories, listed).open_step("two") == 2


def test_a_page_is_begun_once(repositories: Repositories) -> None:
    """The runner begins again when the database was away, and the first begin still waits."""
    operation, _ = repositories.operations.accept(an_operation())
    record = page(repositories, operation)
    for _ in range(2):
        record.start(Update(event=Event.VOLUME_ATTACH_START, instance=None))
    record.open_step("one")
    assert len(repositories.outbox.waiting(9)) == 1


def test_the_commit_point_is_durable_with_the_next_step(repositories: Repositories) -> None:
    operation, _ = repositories.operations.accept(an_operation())
    request = repositories.for_operation(operation)
    assert request.record is not None
    before = request.progress.past_commit_point
    request.progress.pass_commit_point()
    assert not before
    assert request.progress.past_commit_point
    assert not repositories.operations.get(operation.id).past_commit_point
    request.record.open_step("next")
    found = repositories.operations.get(operation.id)
    assert found.past_commit_point
    assert repositories.for_operation(found).progress.past_commit_point
    assert request.progress.operation == operation


def test_a_call_has_no_progress(repositories: Repositories) -> None:
    progress = repositories.for_call().progress
    progress.pass_commit_point()
    assert (progress.operation, progress.past_commit_point) == (None, False)


def test_operations_are_listed_newest_first(repositories: Repositories) -> None:
    instance, device = InstanceId(new_uuid()), BlockDeviceId(new_uuid())
    journal = repositories.operations
    one, _ = journal.accept(an_operation(instance=instance, block_device=device))
    two, _ = journal.accept(an_operation(instance=instance, block_device=device))
    other, _ = journal.accept(an_operation())
    page(repositories, one).end(OperationState.STUCK, DIED, None)

    assert [found.id for found in journal.list()] == [other.id, two.id, one.id]
    assert [found.id for found in journal.list(instance=instance)] == [two.id, one.id]
    assert [found.id for found in journal.list(states=[OperationState.STUCK])] == [one.id]
    assert [found.id for found in journal.list(limit=1)] == [other.id]
    last = journal.last_for(device)
    assert last is not None
    assert last.id == two.id
    assert journal.last_for(BlockDeviceId(new_uuid())) is None
