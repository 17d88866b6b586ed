"""Instances that come and go between hosts, and operations that follow a call, on each database."""

from dataclasses import replace

import pytest

from tests.contract.persistence.scenes import (
    HOST,
    SteppedClock,
    a_device,
    an_instance,
    an_interface,
    an_operation,
)
from worker.errors import AddressTaken, IdTaken, InstanceTaken, OperationNotFound
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.identity.marks import Adoption, Former, Marks
from worker.model.ids import BlockDeviceId, InstanceId, new_uuid
from worker.model.instance import Instance, TaskState, VmState
from worker.model.update import Event, Update
from worker.persistence.database import Database
from worker.persistence.repositories import Repositories

OTHER = "host-2"


@pytest.fixture
def elsewhere(database: Database, clock: SteppedClock) -> Repositories:
    """What another host's worker has of the same database."""
    return Repositories(database, OTHER, clock)


def pair(**fields: object) -> tuple[Instance, list[BlockDevice]]:
    instance = an_instance(**fields)
    rows = [a_device(instance=instance.uuid, status=DeviceStatus.ATTACHED) for _ in range(2)]
    return instance, rows


def times_aside(rows: tuple[BlockDevice, ...] | list[BlockDevice]) -> list[BlockDevice]:
    found = [replace(row, created_at=None, updated_at=None) for row in rows]
    return sorted(found, key=lambda row: row.uuid)


def test_what_an_adoption_was_is_kept_and_frozen(repositories: Repositories) -> None:
    former = Former(device=BlockDeviceId(new_uuid()), marks=Marks(alias="ua-x", serial=None))
    instance = an_instance(adoption=Adoption(former=(former,)))
    call = repositories.for_call()
    call.instances.insert(instance)
    call.instances.save(replace(instance, adoption=None))
    call.unit.commit()
    assert repositories.for_call().instances.get(instance.uuid) == instance


def test_an_instance_is_brought_in_with_its_rows(repositories: Repositories) -> None:
    instance, rows = pair(task_state=TaskState.IMPORTING)
    repositories.for_call().moves.bring_in(instance, rows)
    call = repositories.for_call()
    assert call.moves.find(instance.uuid) == call.instances.get(instance.uuid) == instance
    assert times_aside(call.devices.of_instance(instance.uuid)) == times_aside(rows)


def test_one_that_no_host_has_is_not_found(repositories: Repositories) -> None:
    assert repositories.for_call().moves.find(InstanceId(new_uuid())) is None


def test_one_that_another_host_released_changes_its_host_alone(
    repositories: Repositories, elsewhere: Repositories
) -> None:
    instance, rows = pair()
    repositories.for_call().instances.insert(instance, rows)
    moved = replace(instance, host=OTHER, task_state=TaskState.IMPORTING, vm_state=VmState.STOPPED)
    with pytest.raises(InstanceTaken):
        elsewhere.for_call().moves.bring_in(moved, rows)
    call = repositories.for_call()
    call.instances.save(replace(instance, task_state=TaskState.RELEASED))
    call.unit.commit()
    found = elsewhere.for_call().moves.find(instance.uuid)
    assert found == replace(instance, task_state=TaskState.RELEASED)
    elsewhere.for_call().moves.bring_in(moved, rows)
    assert repositories.for_call().instances.list() == ()
    assert elsewhere.for_call().instances.list() == (moved,)
    kept = elsewhere.for_call().devices.of_instance(instance.uuid)
    assert times_aside(kept) == times_aside(rows)


def test_a_document_is_kept_by_its_host_until_the_instance_is_taken_in(
    repositories: Repositories, elsewhere: Repositories
) -> None:
    instance, rows = pair()
    document = {"format": "x" * 100_000, "of": ["ü", None]}
    repositories.for_call().instances.insert(instance, rows)
    assert repositories.for_call().moves.kept(instance.uuid) is None
    call = repositories.for_call()
    call.moves.keep(instance.uuid, document)
    assert repositories.for_call().moves.kept(instance.uuid) is None
    call.instances.save(replace(instance, task_state=TaskState.RELEASED))
    call.unit.commit()
    assert repositories.for_call().moves.kept(instance.uuid) == document
    assert elsewhere.for_call().moves.kept(instance.uuid) is None
    moved = replace(instance, host=OTHER, task_state=TaskState.IMPORTING)
    elsewhere.for_call().moves.bring_in(moved, rows)
    assert elsewhere.for_call().moves.kept(instance.uuid) is None


def test_rows_that_were_removed_here_come_back_as_given(repositories: Repositories) -> None:
    instance, rows = pair()
    call = repositories.for_call()
    call.instances.insert(instance, rows)
    for row in rows:
        call.devices.remove(row)
    call.instances.remove(instance.uuid)
    call.unit.commit()
    given = [replace(row, status=DeviceStatus.MISSING) for row in rows]
    repositories.for_call().moves.bring_in(instance, given)
    kept = repositories.for_call().devices.of_instance(instance.uuid)
    assert times_aside(kept) == times_aside(given)


@pytest.mark.parametrize("what", ["another's row", "two at one address"])
def test_what_cannot_be_brought_in_whole_is_not_brought_in(
    repositories: Repositories, what: str
) -> None:
    instance, rows = pair()
    error: type[Exception] = AddressTaken
    if what == "another's row":
        error = IdTaken
        other = an_instance()
        repositories.for_call().instances.insert(other, [replace(rows[1], instance=other.uuid)])
    else:
        rows[1] = replace(rows[1], address=rows[0].address)
    with pytest.raises(error):
        repositories.for_call().moves.bring_in(instance, rows)
    assert repositories.for_call().moves.find(instance.uuid) is None
    assert repositories.for_call().devices.look(rows[0].uuid) is None


def test_numbers_of_updates_go_on_where_the_instance_goes(
    repositories: Repositories, elsewhere: Repositories
) -> None:
    instance, rows = pair()
    for there, other in ((repositories, HOST), (elsewhere, OTHER), (repositories, HOST)):
        call = there.for_call()
        call.moves.bring_in(replace(instance, host=other), rows)
        for _ in range(3):
            call.updates.tell(Update(event=Event.POWER, instance=instance.uuid))
        call.instances.save(replace(instance, host=other, task_state=TaskState.RELEASED))
        call.unit.commit()
    told = [
        entry.payload["sequence"]
        for there in (repositories, elsewhere)
        for entry in there.outbox.waiting(limit=100)
    ]
    assert sorted(told) == list(range(1, 10))


def test_an_operation_that_follows_is_kept_with_the_next_change_or_not_at_all(
    repositories: Repositories,
) -> None:
    instance, rows = pair()
    operation = an_operation(lane=instance.uuid, instance=instance.uuid, own=True)
    call = repositories.for_call()
    call.own_operations.begin(operation)
    with pytest.raises(OperationNotFound):
        repositories.operations.get(operation.id)
    call.instances.insert(instance, rows)
    (kept,) = repositories.operations.unfinished()
    assert (kept.id, kept.own, kept.accepted_at is not None) == (operation.id, True, True)

    other = an_operation()
    refused = repositories.for_call()
    refused.own_operations.begin(other)
    with pytest.raises(InstanceTaken):
        refused.instances.insert(instance)
    with pytest.raises(OperationNotFound):
        repositories.operations.get(other.id)


def test_interfaces_are_brought_in_with_their_instance_removed_ones_too(
    repositories: Repositories, elsewhere: Repositories
) -> None:
    instance, rows = pair()
    card = an_interface(instance=instance.uuid, status=DeviceStatus.ATTACHED)
    new = an_interface(instance=instance.uuid, status=DeviceStatus.ATTACHED)
    repositories.for_call().instances.insert(instance, rows, [card])
    call = repositories.for_call()
    call.peripherals.remove(card)
    call.instances.save(replace(instance, task_state=TaskState.RELEASED))
    call.unit.commit()
    elsewhere.for_call().moves.bring_in(replace(instance, host=OTHER), rows, [card, new])
    found = elsewhere.for_call().peripherals.of_instance(instance.uuid)
    assert {(row.uuid, row.alias, row.deleted) for row in found} == {
        (row.uuid, row.alias, False) for row in (card, new)
    }


def test_an_interface_of_another_instance_is_not_brought_in(repositories: Repositories) -> None:
    instance, rows = pair(task_state=TaskState.IMPORTING)
    card = an_interface()
    repositories.for_call().peripherals.insert(card)
    with pytest.raises(IdTaken):
        repositories.for_call().moves.bring_in(
            instance, rows, [replace(card, instance=instance.uuid)]
        )
    assert repositories.for_call().moves.find(instance.uuid) is None
