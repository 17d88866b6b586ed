"""Out of stuck on every database: a compare-and-swap, with all that the request has written."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.contract.persistence.scenes import (
    START,
    SteppedClock,
    a_device,
    an_instance,
    an_operation,
    insert,
)
from worker.errors import OperationNotFound, OperationWrongState
from worker.model.block_device import DeviceStatus
from worker.model.ids import BlockDeviceId, OperationId, new_uuid
from worker.model.operation import Fault, Operation, OperationState
from worker.model.update import Event, Update
from worker.persistence.database import Database
from worker.persistence.repositories import Repositories

LEFT = Fault(code="operation.left_behind", message="the disk is still there")


@pytest.fixture
def stuck(repositories: Repositories, clock: SteppedClock) -> Operation:
    """An operation that died twice, passed its commit point and is stuck, with a row."""
    device = insert(repositories, a_device(instance=an_instance().uuid))
    operation, _ = repositories.operations.accept(
        an_operation(instance=device.instance, block_device=device.uuid, attempts=2)
    )
    request = repositories.for_operation(operation)
    assert request.record is not None
    request.record.start(None)
    request.record.open_step("one")
    request.record.close_step(1, 0.1, LEFT)
    request.progress.pass_commit_point()
    return request.record.end(OperationState.STUCK, LEFT, None)


def error_of(operation: Operation) -> Update:
    return Update(
        event=Event.VOLUME_ATTACH_ERROR,
        instance=operation.instance,
        operation=operation.id,
        fault=operation.fault,
    )


def test_what_is_reopened_is_unfinished_and_keeps_how_far_it_came(
    repositories: Repositories, stuck: Operation
) -> None:
    found = repositories.for_call().stuck.reopen(stuck.id)

    assert found == replace(
        stuck, state=OperationState.RUNNING, attempts=0, fault=None, ended_at=None
    )
    assert found.past_commit_point
    assert len(found.steps) == 1
    assert repositories.operations.unfinished() == (found,)


def test_what_never_began_is_queued(repositories: Repositories) -> None:
    kept, _ = repositories.operations.accept(an_operation(state=OperationState.STUCK))

    assert repositories.for_call().stuck.reopen(kept.id).state is OperationState.QUEUED


def test_steps_are_numbered_on_after_a_reopening(
    repositories: Repositories, stuck: Operation
) -> None:
    record = repositories.for_operation(repositories.for_call().stuck.reopen(stuck.id)).record
    assert record is not None
    assert record.open_step("two") == 2
    assert repositories.operations.get(stuck.id).steps[1].attempt == 0


def test_what_is_abandoned_has_its_end_the_row_and_the_update_in_one(
    repositories: Repositories, stuck: Operation, clock: SteppedClock
) -> None:
    assert stuck.block_device is not None
    clock.pass_seconds(60)
    call = repositories.for_call()
    row = call.devices.get(BlockDeviceId(stuck.block_device))
    call.devices.save(replace(row, status=DeviceStatus.ATTACHED))

    found = call.stuck.abandon(stuck.id, error_of(stuck))

    ended_at = START + timedelta(seconds=60)
    assert found == replace(stuck, state=OperationState.ABANDONED, ended_at=ended_at)
    assert found.fault == LEFT
    assert repositories.for_call().devices.get(row.uuid).status is DeviceStatus.ATTACHED
    told = repositories.outbox.waiting(9)[-1]
    assert (told.event, told.payload["fault"]["code"]) == (Event.VOLUME_ATTACH_ERROR, LEFT.code)


def test_one_without_phases_is_abandoned_and_not_told(
    repositories: Repositories, stuck: Operation
) -> None:
    before = repositories.outbox.waiting(9)

    repositories.for_call().stuck.abandon(stuck.id, None)

    assert repositories.outbox.waiting(9) == before


@pytest.mark.parametrize("first", ["reopen", "abandon"])
def test_of_two_operators_one_is_refused_and_changes_nothing(
    repositories: Repositories, stuck: Operation, first: str
) -> None:
    """The second looked while the operation was stuck still; its writes go with its refusal."""
    assert stuck.block_device is not None
    second = repositories.for_call()
    second.devices.remove(second.devices.get(BlockDeviceId(stuck.block_device)))
    if first == "reopen":
        repositories.for_call().stuck.reopen(stuck.id)
    else:
        repositories.for_call().stuck.abandon(stuck.id, None)
    told = repositories.outbox.waiting(9)

    with pytest.raises(OperationWrongState):
        second.stuck.abandon(stuck.id, error_of(stuck))

    assert not repositories.for_call().devices.get(BlockDeviceId(stuck.block_device)).deleted
    assert repositories.outbox.waiting(9) == told
    with pytest.raises(OperationWrongState):
        repositories.for_call().stuck.reopen(stuck.id)


def test_what_is_another_hosts_is_not_found(
    repositories: Repositories, database: Database, clock: SteppedClock, stuck: Operation
) -> None:
    other = Repositories(database, "host-2", clock).for_call().stuck
    with pytest.raises(OperationNotFound):
        other.reopen(stuck.id)
    with pytest.raises(OperationNotFound):
        other.abandon(stuck.id, None)
    with pytest.raises(OperationNotFound):
        repositories.for_call().stuck.reopen(OperationId(new_uuid()))
