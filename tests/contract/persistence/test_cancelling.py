"""What a caller wants no more, and how far an operation is, on every database."""

from dataclasses import replace

import pytest

from tests.contract.persistence.scenes import (
    SteppedClock,
    a_device,
    an_instance,
    an_operation,
    insert,
)
from worker.errors import OperationCancelled, OperationNotFound, OperationWrongState, Stopped
from worker.model.block_device import BlockDevice
from worker.model.connection import Connection
from worker.model.ids import AttachmentId, BlockDeviceId, OperationId, VolumeId, new_uuid
from worker.model.operation import Operation, OperationState
from worker.model.swap import Swap
from worker.persistence.database import Database
from worker.persistence.repositories import Repositories, RequestRepositories


@pytest.fixture
def queued(repositories: Repositories) -> Operation:
    return repositories.operations.accept(an_operation(instance=an_instance().uuid))[0]


def running(repositories: Repositories, operation: Operation) -> RequestRepositories:
    request = repositories.for_operation(operation)
    assert request.record is not None
    request.record.start(None)
    request.record.open_step("one")
    return request


def test_what_is_queued_is_cancelled_whatever_it_is(
    repositories: Repositories, queued: Operation
) -> None:
    kept = repositories.cancelling.ask(queued.id, ())
    assert (kept.cancel_requested, kept.state) == (True, OperationState.QUEUED)
    assert repositories.cancelling.ask(queued.id, ()) == kept
    with pytest.raises(OperationCancelled):
        repositories.cancelling.check(queued)


def test_what_runs_is_cancelled_if_it_is_such_and_can_go_back(
    repositories: Repositories, queued: Operation
) -> None:
    request = running(repositories, queued)
    with pytest.raises(OperationWrongState):
        repositories.cancelling.ask(queued.id, ("another",))
    request.progress.rest(0.0)
    repositories.cancelling.ask(queued.id, ("another", queued.method))
    with pytest.raises(OperationCancelled):
        request.progress.rest(0.0)


def test_what_only_goes_forward_is_not_cancelled(
    repositories: Repositories, queued: Operation
) -> None:
    request = running(repositories, queued)
    request.progress.pass_commit_point()
    request.unit.commit()
    with pytest.raises(OperationWrongState, match="past its commit point"):
        repositories.cancelling.ask(queued.id, (queued.method,))
    assert request.record is not None
    request.record.end(OperationState.SUCCEEDED, None, None)
    with pytest.raises(OperationWrongState):
        repositories.cancelling.ask(queued.id, (queued.method,))
    repositories.cancelling.check(queued)
    with pytest.raises(OperationNotFound):
        repositories.cancelling.ask(OperationId(new_uuid()), ())


def test_the_next_worker_knows_what_was_cancelled(
    database: Database, repositories: Repositories, clock: SteppedClock, queued: Operation
) -> None:
    repositories.cancelling.ask(queued.id, ())
    again = Repositories(database, an_instance().host, clock)
    (unfinished,) = again.operations.unfinished()
    with pytest.raises(OperationCancelled):
        again.cancelling.check(unfinished)


def test_another_host_cancels_nothing(
    database: Database, clock: SteppedClock, queued: Operation
) -> None:
    with pytest.raises(OperationNotFound):
        Repositories(database, "another", clock).cancelling.ask(queued.id, ())


def test_how_far_it_is_is_seen_by_others_at_once(
    repositories: Repositories, queued: Operation
) -> None:
    request = running(repositories, queued)
    assert repositories.operations.get(queued.id).progress is None
    for percent in (7, 7, 93):
        request.progress.say(percent)
        assert repositories.operations.get(queued.id).progress == percent
    assert repositories.operations.get(queued.id).public()["progress"] == 93
    repositories.for_call().progress.say(5)


def test_who_rests_is_told_that_the_worker_stops(
    repositories: Repositories, queued: Operation
) -> None:
    def stop(_seconds: float) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        repositories.for_operation(queued, stop).progress.rest(1.0)


def test_a_row_keeps_its_other_side_without_secrets(repositories: Repositories) -> None:
    row = insert(repositories, a_device(instance=an_instance().uuid))
    connection = Connection(protocol="iscsi", properties={"a": 1, "auth_password": "sesame"})
    request = repositories.for_call()
    for other in (
        Swap(uuid=BlockDeviceId(new_uuid()), volume=VolumeId(new_uuid())),
        Swap(
            uuid=BlockDeviceId(new_uuid()),
            volume=VolumeId(new_uuid()),
            attachment=AttachmentId(new_uuid()),
            connection=connection,
            wwid="3600",
        ),
        None,
    ):
        request.devices.save(_with(row, other))
        request.unit.commit()
        found = repositories.for_call().devices.get(row.uuid).swap
        assert found == (other and _secretless(other))


def _with(row: BlockDevice, other: Swap | None) -> BlockDevice:
    return replace(row, swap=other)


def _secretless(other: Swap) -> Swap:
    kept = None if other.connection is None else other.connection.without_secrets()
    return replace(other, connection=kept)
