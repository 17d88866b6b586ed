"""What is not done yet, counted alike by every database."""

from tests.contract.persistence.scenes import START, SteppedClock, an_operation
from worker.model.ids import InstanceId, new_uuid
from worker.model.operation import Fault, OperationState
from worker.model.update import Event, Update
from worker.model.workload import Workload
from worker.persistence.database import Database
from worker.persistence.repositories import Repositories
from worker.persistence.workload import read_workload

HOST = "host-1"


def test_nothing_to_do_has_no_age(database: Database, repositories: Repositories) -> None:
    assert read_workload(database, HOST) == Workload()


def test_each_state_is_counted_and_the_oldest_is_known(
    database: Database, repositories: Repositories, clock: SteppedClock
) -> None:
    for state in ("queued", "queued", "running", "stuck", "succeeded"):
        kept, _ = repositories.operations.accept(an_operation())
        record = repositories.for_operation(kept).record
        assert record is not None
        if state != "queued":
            record.start(None, None)
            record.open_step("disks.attach")
        if state in ("stuck", "succeeded"):
            record.end(OperationState(state), Fault(code="x", message="x"), None)
        clock.pass_seconds(1)
    found = read_workload(database, HOST)
    assert (found.queued, found.running, found.stuck, found.unfinished) == (2, 1, 1, 3)
    assert found.oldest_operation == START
    assert read_workload(database, "another") == Workload()


def test_updates_that_wait_are_counted_until_they_are_published(
    database: Database, repositories: Repositories, clock: SteppedClock
) -> None:
    for _ in range(3):
        call = repositories.for_call()
        call.updates.tell(Update(event=Event.POWER, instance=InstanceId(new_uuid())))
        call.unit.commit()
        clock.pass_seconds(1)
    first, *_rest = repositories.outbox.waiting(10)
    assert (read_workload(database, HOST).updates, read_workload(database, HOST).oldest_update) == (
        3,
        START,
    )
    repositories.outbox.published([first.id])
    left = read_workload(database, HOST)
    assert left.updates == 2
    assert left.oldest_update is not None
    assert left.oldest_update > START
