"""What a comparison of all views asks the database for, on every database."""

from dataclasses import replace

from tests.contract.persistence.scenes import HOST, SteppedClock, a_device, an_instance, insert
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.connection import Connection, ConnectionRecord
from worker.model.ids import AttachmentId, BlockDeviceId, InstanceId, VolumeId, new_uuid
from worker.model.update import Event, Update
from worker.persistence.database import Database
from worker.persistence.repositories import Repositories

SECRET = Connection(protocol="iscsi", properties={"target_lun": 1, "auth_password": "sesame"})


def remove(repositories: Repositories, device: BlockDevice) -> None:
    call = repositories.for_call()
    call.devices.remove(device)
    call.unit.commit()


def again(device: BlockDevice) -> BlockDevice:
    return replace(device, uuid=BlockDeviceId(new_uuid()))


def test_the_live_row_bears_an_alias_before_the_last_removed(repositories: Repositories) -> None:
    first = insert(repositories, a_device())
    remove(repositories, first)
    second = insert(repositories, again(first))
    remove(repositories, second)
    bearing = repositories.for_call().devices.bearing
    found = bearing(first.instance, first.alias)
    assert found is not None
    assert (found.uuid, found.deleted) == (second.uuid, True)
    third = insert(repositories, again(first))
    assert bearing(first.instance, first.alias) == third
    assert bearing(InstanceId(new_uuid()), first.alias) is None


def test_the_live_row_has_an_attachment_before_the_last_removed(repositories: Repositories) -> None:
    held = AttachmentId(new_uuid())
    first = insert(repositories, a_device(attachment=held))
    remove(repositories, first)
    holding = repositories.for_call().devices.holding
    found = holding(held)
    assert found is not None
    assert (found.uuid, found.deleted) == (first.uuid, True)
    second = insert(repositories, again(first))
    assert holding(held) == second
    assert holding(AttachmentId(new_uuid())) is None


def test_every_record_of_the_host_is_listed_oldest_first_without_secrets(
    repositories: Repositories, clock: SteppedClock
) -> None:
    devices = [insert(repositories, a_device()) for _ in range(3)]
    for device in reversed(devices):
        clock.pass_seconds(1)
        call = repositories.for_call()
        call.connections.put(device, SECRET)
        call.unit.commit()
    remove(repositories, devices[0])

    listed = repositories.for_call().connections.list()

    assert listed == tuple(
        ConnectionRecord(
            device=device.uuid,
            instance=device.instance,
            volume=device.its_volume,
            connection=SECRET.without_secrets(),
        )
        for device in reversed(devices)
    )


def test_records_of_another_host_are_not_listed(
    repositories: Repositories, database: Database, clock: SteppedClock
) -> None:
    other = Repositories(database, f"not-{HOST}", clock).for_call()
    other.connections.put(insert(repositories, a_device()), SECRET)
    other.unit.commit()
    assert repositories.for_call().connections.list() == ()
    assert len(other.connections.list()) == 1


def test_a_list_sees_what_waits_to_be_written(repositories: Repositories) -> None:
    device = insert(repositories, a_device())
    call = repositories.for_call()
    call.connections.put(device, SECRET)
    assert [record.device for record in call.connections.list()] == [device.uuid]
    call.connections.drop(device.uuid)
    assert call.connections.list() == ()


def test_the_others_that_have_a_volume_are_those_recorded_and_those_attached(
    repositories: Repositories, database: Database, clock: SteppedClock
) -> None:
    elsewhere = Repositories(database, f"not-{HOST}", clock)
    volume = VolumeId(new_uuid())

    def row(of: Repositories, status: DeviceStatus) -> BlockDevice:
        instance = an_instance(host=HOST if of is repositories else f"not-{HOST}")
        of.for_call().instances.insert(instance)
        return insert(of, a_device(instance=instance.uuid, volume=volume, status=status))

    asking, recorded, attached = (
        row(repositories, status)
        for status in (DeviceStatus.ATTACHED, DeviceStatus.ATTACHING, DeviceStatus.ATTACHED)
    )
    for status in (DeviceStatus.RESERVED, DeviceStatus.ATTACHING):
        row(repositories, status)
    remove(repositories, row(repositories, DeviceStatus.ATTACHED))
    row(elsewhere, DeviceStatus.ATTACHED)
    insert(repositories, a_device(status=DeviceStatus.ATTACHED))
    call = repositories.for_call()
    call.connections.put(recorded, SECRET)
    call.connections.put(asking, SECRET)
    call.unit.commit()
    other = elsewhere.for_call()
    other.connections.put(row(elsewhere, DeviceStatus.ATTACHING), SECRET)
    other.unit.commit()

    found = repositories.for_call().connections.others(asking.uuid, volume)

    assert found == {recorded.uuid, attached.uuid}


def test_what_is_counted_is_told_and_nothing_else_has_a_count(repositories: Repositories) -> None:
    call = repositories.for_call()
    instance = InstanceId(new_uuid())
    call.updates.tell(Update(event=Event.DRIFT_REPAIRED, instance=instance, count=0))
    call.updates.tell(Update(event=Event.POWER, instance=instance))
    call.unit.commit()
    counted, other = repositories.outbox.waiting(9)
    assert counted.payload["count"] == 0
    assert "count" not in other.payload
