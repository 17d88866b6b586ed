from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

import pytest
from sqlalchemy import Connection as SqlConnection
from sqlalchemy.exc import IntegrityError

from tests.contract.persistence.scenes import (
    a_device,
    an_operation,
    count,
    insert,
    reserved,
)
from worker.errors import DatabaseUnavailable, DeviceNameTaken, DeviceWrongState
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.connection import Connection
from worker.model.ids import BlockDeviceId, new_uuid
from worker.model.operation import OperationState
from worker.model.update import Event, Update
from worker.persistence.database import Database
from worker.persistence.repositories import Repositories, RequestRepositories
from worker.persistence.schema import BLOCK_DEVICES, CONNECTIONS, STEPS, UPDATES

ResultT = TypeVar("ResultT")


def attached(device: BlockDevice) -> Update:
    return Update(event=Event.VOLUME_ATTACH_END, instance=device.instance, block_device=device)


def begun(repositories: Repositories) -> RequestRepositories:
    operation, _ = repositories.operations.accept(an_operation())
    return repositories.for_operation(operation)


def write_everything(request: RequestRepositories, device: BlockDevice) -> None:
    request.devices.save(replace(device, tag="changed"))
    request.connections.put(device, Connection(protocol="local", properties={}))
    request.updates.tell(attached(device))


def test_what_waits_is_not_durable(repositories: Repositories, database: Database) -> None:
    device = insert(repositories, a_device())
    request = begun(repositories)
    write_everything(request, device)
    assert repositories.for_call().devices.get(device.uuid).tag is None
    assert count(database, CONNECTIONS) == 0
    assert count(database, UPDATES) == 1


def test_a_crash_loses_what_waits_and_no_more(
    repositories: Repositories, database: Database
) -> None:
    device = insert(repositories, a_device())
    request = begun(repositories)
    assert request.record is not None
    request.devices.save(replace(device, tag="durable"))
    request.record.open_step("guests.describe")
    request.devices.save(replace(device, tag="lost"))
    request.updates.tell(attached(device))
    del request
    assert repositories.for_call().devices.get(device.uuid).tag == "durable"
    assert count(database, STEPS) == 1
    assert count(database, UPDATES) == 1


def test_the_opening_of_a_step_commits_what_waits(
    repositories: Repositories, database: Database
) -> None:
    device = insert(repositories, a_device())
    request = begun(repositories)
    assert request.record is not None
    write_everything(request, device)
    request.record.open_step("connector.connect")
    assert repositories.for_call().devices.get(device.uuid).tag == "changed"
    assert count(database, CONNECTIONS) == 1
    assert count(database, UPDATES) == 2


def test_the_end_the_row_and_the_update_are_one_transaction(
    repositories: Repositories, database: Database
) -> None:
    device = insert(repositories, a_device())
    request = begun(repositories)
    assert request.record is not None
    write_everything(request, device)
    request.unit.append(_refuse, BLOCK_DEVICES)
    with pytest.raises(IntegrityError):
        request.record.end(OperationState.SUCCEEDED, None, attached(device))
    operation = request.progress.operation
    assert operation is not None
    assert repositories.operations.get(operation.id).state is OperationState.QUEUED
    assert repositories.for_call().devices.get(device.uuid).tag is None
    assert count(database, UPDATES) == 1

    request.record.end(OperationState.SUCCEEDED, None, attached(device))
    assert repositories.operations.get(operation.id).state is OperationState.SUCCEEDED
    assert repositories.for_call().devices.get(device.uuid).tag == "changed"
    assert count(database, UPDATES) == 3


def _refuse(_connection: object) -> None:
    raise IntegrityError("planted", None, Exception("planted"))


@pytest.mark.parametrize("how", ["insert", "move"])
def test_a_refusal_leaves_what_waits(repositories: Repositories, how: str) -> None:
    device = insert(repositories, a_device())
    call = repositories.for_call()
    call.devices.save(replace(device, tag="waits"))
    if how == "insert":
        twin = a_device(instance=device.instance, device_name=device.device_name)
        with pytest.raises(DeviceNameTaken):
            call.devices.insert(twin, reserved(twin))
    else:
        with pytest.raises(DeviceWrongState):
            call.devices.move(replace(device, status=DeviceStatus.ATTACHED), DeviceStatus.DETACHING)
    assert repositories.for_call().devices.get(device.uuid).tag is None
    call.unit.commit()
    assert repositories.for_call().devices.get(device.uuid).tag == "waits"


def test_a_refused_insert_tells_nothing(repositories: Repositories, database: Database) -> None:
    device = insert(repositories, a_device())
    twin = a_device(instance=device.instance, device_name=device.device_name)
    call = repositories.for_call()
    with pytest.raises(DeviceNameTaken):
        call.devices.insert(twin, reserved(twin))
    call.unit.commit()
    assert count(database, UPDATES) == 1


def test_writes_are_played_in_the_order_they_were_made(repositories: Repositories) -> None:
    device = insert(repositories, a_device())
    call = repositories.for_call()
    call.devices.save(replace(device, tag="first"))
    call.devices.move(device, DeviceStatus.ATTACHING)
    found = repositories.for_call().devices.get(device.uuid)
    assert (found.tag, found.status) == ("first", DeviceStatus.ATTACHING)


def test_a_request_reads_what_it_wrote(repositories: Repositories, database: Database) -> None:
    device = insert(repositories, a_device())
    call = repositories.for_call()
    write_everything(call, device)
    assert call.devices.get(device.uuid).tag == "changed"
    assert call.connections.get(device.uuid) is not None
    call.devices.remove(device)
    assert call.devices.of_instance(device.instance) == ()
    assert repositories.for_call().devices.get(device.uuid).tag is None
    assert count(database, UPDATES) == 1

    call.unit.commit()
    assert repositories.for_call().devices.get(device.uuid).deleted
    assert count(database, UPDATES) == 2


def test_nothing_to_write_is_no_transaction(repositories: Repositories) -> None:
    repositories.for_call().unit.commit()


def test_a_waiting_write_that_is_refused_raises_once(repositories: Repositories) -> None:
    device = insert(repositories, a_device())
    other = insert(repositories, a_device(instance=device.instance))
    call = repositories.for_call()
    call.devices.save(replace(device, tag="kept"))
    call.devices.save(replace(other, device_name=device.device_name))
    with pytest.raises(DeviceNameTaken):
        call.unit.commit()
    call.unit.commit()
    found = repositories.for_call().devices
    assert found.get(device.uuid).tag == "kept"
    assert found.get(other.uuid) == other


def test_save_leaves_what_another_request_has_changed_meanwhile(repositories: Repositories) -> None:
    device = insert(repositories, a_device())
    mine, other = repositories.for_call(), repositories.for_call()
    seen = mine.devices.get(device.uuid)
    other.devices.amend(replace(device, tag="theirs"))
    mine.devices.save(replace(seen, wwid="mine"))
    mine.unit.commit()
    found = repositories.for_call().devices.get(device.uuid)
    assert (found.tag, found.wwid) == ("theirs", "mine")


@pytest.mark.parametrize("between", [True, False], ids=["saved between", "moved alone"])
def test_save_writes_what_was_changed_back(repositories: Repositories, between: bool) -> None:  # noqa: FBT001
    device = insert(repositories, a_device())
    call = repositories.for_call()
    seen = call.devices.get(device.uuid)
    moved = call.devices.move(seen, DeviceStatus.ATTACHING)
    if between:
        call.devices.save(replace(moved, tag="changed", status=DeviceStatus.ATTACHED))
        call.unit.commit()
    call.devices.save(replace(moved, tag=None, status=DeviceStatus.RESERVED))
    call.unit.commit()
    found = repositories.for_call().devices.get(device.uuid)
    assert (found.tag, found.status) == (None, DeviceStatus.RESERVED)


def test_what_a_refused_save_was_to_change_the_next_one_writes(repositories: Repositories) -> None:
    device = insert(repositories, a_device())
    other = insert(repositories, a_device(instance=device.instance))
    call = repositories.for_call()
    seen = call.devices.get(other.uuid)
    refused = replace(seen, device_name=device.device_name, wwid="seen")
    call.devices.save(refused)
    with pytest.raises(DeviceNameTaken):
        call.unit.commit()
    call.devices.save(replace(refused, device_name=other.device_name))
    call.unit.commit()
    assert repositories.for_call().devices.get(other.uuid).wwid == "seen"


def test_a_connection_is_kept_and_dropped(repositories: Repositories) -> None:
    device = a_device()
    call = repositories.for_call()
    for lun in (1, 2):
        call.connections.put(device, Connection(protocol="iscsi", properties={"target_lun": lun}))
        call.unit.commit()
    kept = repositories.for_call().connections.get(device.uuid)
    assert kept == Connection(protocol="iscsi", properties={"target_lun": 2})
    call.connections.drop(device.uuid)
    call.connections.drop(BlockDeviceId(new_uuid()))
    call.unit.commit()
    assert repositories.for_call().connections.get(device.uuid) is None


class LostCommit(Database):
    """A database whose next commit happens, and whose answer is lost."""

    lost = True

    def write(self, change: Callable[[SqlConnection], ResultT]) -> ResultT:
        done = super().write(change)
        if self.lost:
            self.lost = False
            raise DatabaseUnavailable
        return done


def test_a_commit_whose_answer_was_lost_may_be_played_again(
    repositories: Repositories, database: Database
) -> None:
    device = insert(repositories, a_device())
    call = repositories.for_call()
    call.unit.database = LostCommit(database.engine)
    write_everything(call, device)
    with pytest.raises(DatabaseUnavailable):
        call.unit.commit()
    call.unit.commit()
    assert [entry.payload["sequence"] for entry in repositories.outbox.waiting(9)] == [1, 2]
    assert count(database, CONNECTIONS) == 1


class DyingDatabase(Database):
    """A database that is killed after so many commits."""

    commits_left = 0

    def write(self, change: Callable[[SqlConnection], ResultT]) -> ResultT:
        if not self.commits_left:
            raise DatabaseUnavailable
        self.commits_left -= 1
        return super().write(change)


@pytest.mark.parametrize("commits", [0, 1])
@pytest.mark.parametrize("change", ["insert", "release", "end"])
def test_a_change_and_its_update_live_and_die_together(
    repositories: Repositories, database: Database, change: str, commits: int
) -> None:
    device = insert(repositories, a_device())
    request = begun(repositories)
    assert request.record is not None
    request.devices.save(replace(device, tag="waits"))
    dying = request.unit.database = DyingDatabase(database.engine)
    dying.commits_left = commits
    with suppress(DatabaseUnavailable):
        match change:
            case "insert":
                request.devices.insert(other := a_device(), reserved(other))
            case "release":
                request.devices.release(device, attached(device))
            case "end":
                request.record.end(OperationState.SUCCEEDED, None, attached(device))

    found = repositories.for_call()
    (operation,) = repositories.operations.list()
    happened = {
        "insert": count(database, BLOCK_DEVICES) == 2,
        "release": found.devices.get(device.uuid).deleted,
        "end": operation.state.ended,
    }
    assert happened[change] == bool(commits)
    assert count(database, UPDATES) == 1 + commits
    assert found.devices.get(device.uuid).tag == ("waits" if commits else None)
