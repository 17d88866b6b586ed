"""Which rows say how this host reached a volume: whatever became of row and instance."""

from dataclasses import replace

from tests.contract.persistence.scenes import (
    SteppedClock,
    a_device,
    an_instance,
    an_operation,
    insert,
)
from worker.model.block_device import BlockDevice
from worker.model.connection import Connection
from worker.model.ids import InstanceId
from worker.model.instance import Instance
from worker.persistence.database import Database
from worker.persistence.repositories import Repositories

WAY = Connection(protocol="iscsi", properties={"target_lun": 1})


def an_instance_there(repositories: Repositories) -> Instance:
    found = an_instance()
    repositories.for_call().instances.insert(found)
    return found


def connected(repositories: Repositories, instance: InstanceId) -> BlockDevice:
    device = insert(repositories, a_device(instance=instance))
    call = repositories.for_call()
    call.devices.save(replace(device, connection=WAY, wwid="naa.600a"))
    call.unit.commit()
    return repositories.for_call().devices.get(device.uuid)


def found(repositories: Repositories) -> list[str]:
    return [row.uuid for row in repositories.for_call().devices.connected()]


def test_rows_of_this_hosts_instances_count_as_long_as_there_are_any(
    repositories: Repositories,
) -> None:
    here = an_instance_there(repositories)
    first, second = (connected(repositories, here.uuid) for _ in range(2))
    insert(repositories, a_device(instance=here.uuid))
    assert repositories.for_call().devices.connected() == (first, second)

    gone = repositories.for_call()
    gone.devices.remove(first)
    gone.instances.remove(here.uuid)
    gone.unit.commit()

    rows = repositories.for_call().devices.connected()
    assert [(row.uuid, row.deleted) for row in rows] == [(first.uuid, True), (second.uuid, False)]
    assert rows[0].connection == WAY


def test_rows_of_another_hosts_instances_are_not_ours(
    repositories: Repositories, database: Database, clock: SteppedClock
) -> None:
    there = Repositories(database, "host-2", clock)
    other = an_instance(host="host-2")
    there.for_call().instances.insert(other)
    row = connected(repositories, other.uuid)
    assert (found(repositories), found(there)) == ([], [row.uuid])


def test_what_the_journal_or_a_record_of_this_host_names_is_ours(
    repositories: Repositories, database: Database, clock: SteppedClock
) -> None:
    there = Repositories(database, "host-2", clock)
    other = an_instance(host="host-2")
    there.for_call().instances.insert(other)
    done, recorded, neither = (connected(there, other.uuid) for _ in range(3))
    repositories.operations.accept(an_operation(block_device=done.uuid))
    call = repositories.for_call()
    call.connections.put(recorded, WAY)
    call.unit.commit()
    assert found(repositories) == [done.uuid, recorded.uuid]
    assert found(there) == [done.uuid, recorded.uuid, neither.uuid]
