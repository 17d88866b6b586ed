import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pytest
from sqlalchemy import Connection, delete, update

from tests.contract.persistence.scenes import (
    HOST,
    START,
    SteppedClock,
    a_device,
    an_instance,
    an_operation,
)
from worker.model.ids import InstanceId, OperationId, new_uuid
from worker.model.instance import Instance, VmState
from worker.model.operation import Fault
from worker.model.update import Event, Update
from worker.persistence.database import Database
from worker.persistence.repositories import Repositories
from worker.persistence.schema import INSTANCES, UPDATES


def power(instance: InstanceId | None) -> Update:
    return Update(event=Event.POWER, instance=instance)


def tell(repositories: Repositories, *instances: InstanceId | None) -> None:
    call = repositories.for_call()
    for instance in instances:
        call.updates.tell(power(instance))
    call.unit.commit()


def numbers(repositories: Repositories, instance: InstanceId | None) -> list[int]:
    entries = repositories.outbox.waiting(10_000)
    return [one.payload["sequence"] for one in entries if one.instance == instance]


def test_an_update_says_all_that_the_design_promises(repositories: Repositories) -> None:
    instance = an_instance(task_state="rescuing")
    device = a_device(instance=instance.uuid)
    call = repositories.for_call()
    call.instances.insert(instance)
    update = Update(
        event=Event.VOLUME_ATTACH_ERROR,
        instance=instance.uuid,
        operation=OperationId(new_uuid()),
        request_id="req-1",
        block_device=device,
        fault=Fault(code="connector.failed", message="no path"),
    )
    call.updates.tell(update)
    call.unit.commit()
    (entry,) = repositories.outbox.waiting(9)
    assert entry.event is Event.VOLUME_ATTACH_ERROR
    assert entry.instance == instance.uuid
    assert entry.payload == {
        "sequence": 1,
        "operation_id": update.operation,
        "request_id": "req-1",
        "host": HOST,
        "instance_uuid": instance.uuid,
        "vm_state": "active",
        "task_state": "rescuing",
        "block_device": device.public(),
        "peripheral": None,
        "fault": {"code": "connector.failed", "message": "no path"},
        "at": START.isoformat(),
    }


def test_states_are_those_of_the_transaction(repositories: Repositories) -> None:
    instance = an_instance()
    call = repositories.for_call()
    call.instances.insert(instance)
    call.updates.tell(power(instance.uuid))
    call.instances.save(replace(instance, vm_state=VmState.STOPPED))
    call.updates.tell(power(instance.uuid))
    call.unit.commit()
    states = [one.payload["vm_state"] for one in repositories.outbox.waiting(9)]
    assert states == ["active", "stopped"]


def test_numbers_go_on_when_an_instance_is_adopted(repositories: Repositories) -> None:
    instance = an_instance()
    tell(repositories, instance.uuid, instance.uuid)
    repositories.for_call().instances.insert(instance)
    tell(repositories, instance.uuid)
    assert numbers(repositories, instance.uuid) == [1, 2, 3]


def test_numbers_go_on_when_an_instance_is_gone(
    repositories: Repositories, database: Database
) -> None:
    instance = an_instance()
    repositories.for_call().instances.insert(instance)
    tell(repositories, instance.uuid, instance.uuid)
    with database.engine.begin() as connection:
        connection.execute(update(INSTANCES).values(deleted=INSTANCES.c.id))
        connection.execute(delete(UPDATES))
    tell(repositories, instance.uuid)
    repositories.for_call().instances.insert(instance)
    tell(repositories, instance.uuid)
    assert numbers(repositories, instance.uuid) == [3, 4]


def test_updates_without_an_instance_are_numbered_too(repositories: Repositories) -> None:
    tell(repositories, None, None)
    assert numbers(repositories, None) == [1, 2]
    assert repositories.outbox.waiting(1)[0].payload["instance_uuid"] is None


@pytest.mark.parametrize("number", [0, 1, 2])
def test_those_of_some_instances_are_left_out(repositories: Repositories, number: int) -> None:
    told = [InstanceId(new_uuid()), InstanceId(new_uuid()), None]
    for instance in told:
        tell(repositories, instance)
    waiting = repositories.outbox.waiting
    assert [one.instance for one in waiting(9)] == told
    others = [instance for instance in told if instance != told[number]]
    assert [one.instance for one in waiting(9, without=[told[number]])] == others
    assert [one.instance for one in waiting(9, without=others)] == [told[number]]
    assert waiting(9, without=told) == ()


def test_each_host_counts_for_itself(database: Database, clock: SteppedClock) -> None:
    instance = InstanceId(new_uuid())
    one, other = Repositories(database, "host-1", clock), Repositories(database, "host-2", clock)
    tell(one, instance)
    tell(other, instance)
    assert numbers(one, instance) == numbers(other, instance) == [1]


def test_numbers_have_no_gap_under_threads(repositories: Repositories) -> None:
    adopted = an_instance()
    repositories.for_call().instances.insert(adopted)
    unknown = InstanceId(new_uuid())
    threads, each = 12, 10

    def work(_number: int) -> None:
        for _ in range(each):
            tell(repositories, adopted.uuid)
            tell(repositories, unknown)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    expected = list(range(1, threads * each + 1))
    assert numbers(repositories, adopted.uuid) == expected
    assert numbers(repositories, unknown) == expected


def test_two_units_in_each_others_way_both_tell(repositories: Repositories) -> None:
    """Each locks one instance's row and then wants the other's: a server calls that a deadlock."""
    one, other = an_instance(), an_instance()
    for instance in (one, other):
        repositories.for_call().instances.insert(instance)
    both_hold_one = threading.Barrier(2)

    def meet(_connection: Connection) -> None:
        with suppress(threading.BrokenBarrierError):
            both_hold_one.wait(1)

    def work(pair: tuple[Instance, Instance]) -> None:
        call = repositories.for_call()
        call.updates.tell(power(pair[0].uuid))
        call.unit.append(meet, INSTANCES)
        call.updates.tell(power(pair[1].uuid))
        call.unit.commit()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, [(one, other), (other, one)]))
    assert numbers(repositories, one.uuid) == [1, 2]
    assert numbers(repositories, other.uuid) == [1, 2]


def test_a_counter_that_fell_behind_is_lifted(
    repositories: Repositories, database: Database
) -> None:
    """As when a row is made while an update without one takes the next number."""
    instance = an_instance()
    repositories.for_call().instances.insert(instance)
    tell(repositories, instance.uuid)
    with database.engine.begin() as connection:
        connection.execute(update(INSTANCES).values(update_sequence=0))
    tell(repositories, instance.uuid)
    assert numbers(repositories, instance.uuid) == [1, 2]


def test_the_outbox_is_read_in_order_and_emptied_in_any(repositories: Repositories) -> None:
    instance = InstanceId(new_uuid())
    tell(repositories, *[instance] * 5)
    entries = repositories.outbox.waiting(3)
    assert [one.payload["sequence"] for one in entries] == [1, 2, 3]
    repositories.outbox.published([entries[1].id, entries[0].id])
    repositories.outbox.published([])
    left = repositories.outbox.waiting(10)
    assert [one.payload["sequence"] for one in left] == [3, 4, 5]
    assert left[0].message_id == entries[2].message_id
    others = repositories.outbox.waiting(10, but=[left[1].id])
    assert [one.payload["sequence"] for one in others] == [3, 5]


def test_another_hosts_updates_are_not_ours_to_publish(
    repositories: Repositories, database: Database, clock: SteppedClock
) -> None:
    tell(repositories, None)
    assert Repositories(database, "host-2", clock).outbox.waiting(9) == ()


def test_the_relay_wakes_at_a_commit_that_told(repositories: Repositories) -> None:
    assert woken_by(repositories, lambda: tell(repositories, None)) < 5


def test_the_relay_sleeps_through_a_commit_that_told_nothing(repositories: Repositories) -> None:
    def accept() -> None:
        operation, _ = repositories.operations.accept(an_operation())
        record = repositories.for_operation(operation).record
        assert record is not None
        record.open_step("a.b")

    assert woken_by(repositories, accept, patience=0.3) >= 0.3


def woken_by(
    repositories: Repositories, act: Callable[[], None], *, patience: float = 10.0
) -> float:
    """Return how long the outbox waited while the act was done."""
    begun = time.monotonic()
    timer = threading.Timer(0.05, act)
    timer.start()
    repositories.outbox.wait(patience)
    seconds = time.monotonic() - begun
    timer.join()
    return seconds
