from datetime import timedelta

from sqlalchemy import update

from tests.contract.persistence.scenes import (
    SteppedClock,
    a_device,
    an_instance,
    an_interface,
    an_operation,
    count,
    insert,
    released,
)
from worker.model.block_device import BlockDevice
from worker.model.connection import Connection
from worker.model.operation import OperationState
from worker.model.update import Event, Update
from worker.persistence.database import Database
from worker.persistence.purge import AT_ONCE, REST, Purged, purge
from worker.persistence.repositories import Repositories
from worker.persistence.schema import (
    BLOCK_DEVICES,
    INSTANCES,
    OPERATIONS,
    PERIPHERALS,
    STEPS,
    UPDATES,
)

DAY = 24 * 3600
NOTHING = Purged(block_devices=0, peripherals=0, instances=0, operations=0, updates=0)


def removed(repositories: Repositories) -> BlockDevice:
    device = insert(repositories, a_device())
    repositories.for_call().devices.release(device, released(device))
    return device


def ended(repositories: Repositories, state: OperationState) -> None:
    operation, _ = repositories.operations.accept(an_operation())
    record = repositories.for_operation(operation).record
    assert record is not None
    record.start(None)
    record.open_step("a.b")
    if state.ended:
        record.end(state, None, None)


def test_old_removed_rows_go_and_others_stay(
    repositories: Repositories, database: Database, clock: SteppedClock
) -> None:
    removed(repositories)
    insert(repositories, a_device())
    clock.pass_seconds(DAY)
    removed(repositories)
    assert purge(database, clock.now() - timedelta(hours=1)).block_devices == 1
    assert count(database, BLOCK_DEVICES) == 2


def test_old_removed_peripherals_go_and_others_stay(
    repositories: Repositories, database: Database, clock: SteppedClock
) -> None:
    for _ in range(2):
        call = repositories.for_call()
        call.peripherals.insert(an_interface())
        gone = an_interface()
        call.peripherals.insert(gone)
        call.peripherals.remove(gone)
        call.unit.commit()
        clock.pass_seconds(DAY)
    assert purge(database, clock.now() - timedelta(hours=36)).peripherals == 1
    assert count(database, PERIPHERALS) == 3


def test_a_removed_row_stays_while_this_host_is_connected(
    repositories: Repositories, database: Database, clock: SteppedClock
) -> None:
    device = removed(repositories)
    call = repositories.for_call()
    call.connections.put(device, Connection(protocol="local", properties={}))
    call.unit.commit()
    clock.pass_seconds(DAY)
    assert purge(database, clock.now()) == NOTHING
    call.connections.drop(device.uuid)
    call.unit.commit()
    assert purge(database, clock.now()).block_devices == 1


def test_ended_operations_go_with_their_steps_and_stuck_ones_stay(
    repositories: Repositories, database: Database, clock: SteppedClock
) -> None:
    for state in OperationState:
        ended(repositories, state)
    clock.pass_seconds(DAY)
    assert purge(database, clock.now()).operations == 3
    left = {operation.state for operation in repositories.operations.list()}
    assert left == {OperationState.RUNNING, OperationState.STUCK}
    assert count(database, OPERATIONS) == count(database, STEPS) == 3


def test_published_updates_go_and_those_that_wait_stay(
    repositories: Repositories, database: Database, clock: SteppedClock
) -> None:
    device = removed(repositories)
    first, second = repositories.outbox.waiting(9)
    repositories.outbox.published([first.id])
    clock.pass_seconds(DAY)
    assert purge(database, clock.now()).updates == 1
    assert repositories.outbox.waiting(9) == (second,)
    assert second.instance == device.instance


def test_numbering_survives_a_purge(
    repositories: Repositories, database: Database, clock: SteppedClock
) -> None:
    instance = an_instance()
    call = repositories.for_call()
    call.instances.insert(instance)
    for _ in range(2):
        call.updates.tell(Update(event=Event.POWER, instance=instance.uuid))
        call.updates.tell(Update(event=Event.REFUSED, instance=None))
        call.unit.commit()
    repositories.outbox.published([one.id for one in repositories.outbox.waiting(9)])
    clock.pass_seconds(DAY)
    assert purge(database, clock.now()).updates == 3
    assert count(database, UPDATES) == 1
    call.updates.tell(Update(event=Event.POWER, instance=instance.uuid))
    call.updates.tell(Update(event=Event.REFUSED, instance=None))
    call.unit.commit()
    assert [one.payload["sequence"] for one in repositories.outbox.waiting(9)] == [3, 3]


def test_old_removed_instances_go(
    repositories: Repositories, database: Database, clock: SteppedClock
) -> None:
    repositories.for_call().instances.insert(an_instance())
    gone = {"deleted": INSTANCES.c.id, "deleted_at": clock.now()}
    with database.engine.begin() as connection:
        connection.execute(update(INSTANCES).values(gone))
    repositories.for_call().instances.insert(an_instance())
    clock.pass_seconds(DAY)
    assert purge(database, clock.now()).instances == 1
    assert count(database, INSTANCES) == 1


def test_more_than_one_transaction_holds_is_purged(
    repositories: Repositories, database: Database, clock: SteppedClock
) -> None:
    call = repositories.for_call()
    instance = an_instance()
    for _ in range(AT_ONCE + 1):
        call.updates.tell(Update(event=Event.POWER, instance=instance.uuid))
    call.unit.commit()
    repositories.outbox.published([one.id for one in repositories.outbox.waiting(AT_ONCE + 1)])
    clock.pass_seconds(DAY)
    rests: list[float] = []
    assert purge(database, clock.now(), rests.append).updates == AT_ONCE + 1
    # The one lock of SQLite is left to others for a while after each full transaction.
    assert [each >= REST for each in rests] == [True] * (database.engine.dialect.name == "sqlite")
    assert purge(database, clock.now()) == NOTHING
