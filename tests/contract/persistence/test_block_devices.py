from dataclasses import replace

import pytest

from tests.contract.persistence.scenes import (
    START,
    SteppedClock,
    a_device,
    an_instance,
    insert,
    released,
    reserved,
)
from worker.errors import (
    AddressTaken,
    BlockDeviceNotFound,
    DeviceNameTaken,
    DeviceWrongState,
    IdTaken,
    RequestMalformed,
    TagTaken,
    VolumeAlreadyAttached,
)
from worker.model.block_device import LEGAL_MOVES, BlockDevice, Bus, DeviceStatus, DeviceType
from worker.model.connection import Connection
from worker.model.ids import AttachmentId, BlockDeviceId, InstanceId, VolumeId, new_uuid
from worker.model.places.address import DriveAddress, PciAddress
from worker.persistence.database import Database
from worker.persistence.repositories import Repositories


def test_a_row_comes_back_as_it_was_given(repositories: Repositories) -> None:
    device = a_device(
        bus=Bus.SCSI,
        device_type=DeviceType.CDROM,
        address=DriveAddress(kind="scsi", unit=7),
        unit=7,
        attachment=AttachmentId(new_uuid()),
        connection=Connection(protocol="iscsi", properties={"target_lun": 1, "portals": ["a"]}),
        volume_size=12,
        volume_type="schnell-ü",
        boot_index=0,
        tag="tag",
        multiattach=True,
        encrypted=True,
        delete_on_termination=True,
    )
    found = insert(repositories, device)
    assert found == replace(device, created_at=START, updated_at=START)


def test_a_row_that_never_was_is_not_found(repositories: Repositories) -> None:
    devices = repositories.for_call().devices
    assert devices.look(BlockDeviceId(new_uuid())) is None
    with pytest.raises(BlockDeviceNotFound):
        devices.get(BlockDeviceId(new_uuid()))


def test_rows_of_an_instance_come_by_name_z_before_aa(repositories: Repositories) -> None:
    instance = InstanceId(new_uuid())
    for name in ("/dev/vdaa", "/dev/vdz", "/dev/vdb"):
        insert(repositories, a_device(instance=instance, device_name=name))
    insert(repositories, a_device())
    found = repositories.for_call().devices.of_instance(instance)
    assert [row.target for row in found] == ["vdb", "vdz", "vdaa"]


ALREADY = a_device(
    device_name="/dev/sdb",
    bus=Bus.SCSI,
    unit=3,
    address=DriveAddress(kind="scsi", unit=3),
    tag="data",
)


@pytest.mark.parametrize(
    ("same", "refusal"),
    [
        ({"uuid": ALREADY.uuid, "instance": InstanceId(new_uuid())}, IdTaken),
        ({"volume": ALREADY.volume}, VolumeAlreadyAttached),
        ({"device_name": "/dev/sdb"}, DeviceNameTaken),
        ({"bus": Bus.SCSI, "unit": 3}, AddressTaken),
        ({"address": ALREADY.address}, AddressTaken),
        ({"tag": ALREADY.tag}, TagTaken),
    ],
    ids=["uuid", "volume", "name", "unit", "address", "tag"],
)
def test_the_key_that_refuses_names_the_error(
    repositories: Repositories, same: dict[str, object], refusal: type[Exception]
) -> None:
    insert(repositories, ALREADY)
    other = a_device(**({"instance": ALREADY.instance} | same))
    with pytest.raises(refusal):
        insert(repositories, other)


def test_the_same_row_again_is_an_id_taken(repositories: Repositories) -> None:
    device = a_device()
    insert(repositories, device)
    with pytest.raises(IdTaken):
        insert(repositories, device)


def test_instances_do_not_share_names_units_or_addresses(repositories: Repositories) -> None:
    insert(repositories, ALREADY)
    insert(
        repositories,
        replace(ALREADY, uuid=BlockDeviceId(new_uuid()), instance=InstanceId(new_uuid())),
    )


def test_rows_without_unit_or_address_do_not_collide(repositories: Repositories) -> None:
    instance = InstanceId(new_uuid())
    for _ in range(3):
        insert(repositories, a_device(instance=instance, address=None))
    assert len(repositories.for_call().devices.of_instance(instance)) == 3


def test_a_removed_row_frees_its_places_and_stays_readable(
    repositories: Repositories, clock: SteppedClock
) -> None:
    device = insert(repositories, a_device())
    for _ in range(3):
        call = repositories.for_call()
        call.devices.remove(device)
        call.unit.commit()
        gone = call.devices.get(device.uuid)
        assert gone.deleted
        assert gone.volume == device.volume
        assert call.devices.of_instance(device.instance) == ()
        device = insert(repositories, replace(device, uuid=BlockDeviceId(new_uuid())))


def test_removing_twice_is_fine(repositories: Repositories) -> None:
    device = insert(repositories, a_device())
    for _ in range(2):
        call = repositories.for_call()
        call.devices.remove(device)
        call.unit.commit()


def test_an_id_is_never_given_again(repositories: Repositories) -> None:
    device = insert(repositories, a_device())
    repositories.for_call().devices.release(device, released(device))
    with pytest.raises(IdTaken):
        insert(repositories, device)


def test_release_needs_a_reservation(repositories: Repositories) -> None:
    device = insert(repositories, a_device())
    call = repositories.for_call()
    call.devices.move(device, DeviceStatus.ATTACHING)
    with pytest.raises(DeviceWrongState):
        repositories.for_call().devices.release(device, released(device))
    assert not call.devices.get(device.uuid).deleted
    assert [entry.event.value for entry in repositories.outbox.waiting(9)] == [
        "block_device.reserved"
    ]


def test_what_is_amended_is_kept_at_once_or_refused(repositories: Repositories) -> None:
    device = insert(repositories, a_device(tag="mine"))
    insert(repositories, a_device(instance=device.instance, tag="theirs"))
    amended = replace(device, tag=None, delete_on_termination=True)
    repositories.for_call().devices.amend(amended)
    found = repositories.for_call().devices.get(device.uuid)
    assert replace(found, updated_at=None) == replace(amended, updated_at=None)
    with pytest.raises(TagTaken):
        repositories.for_call().devices.amend(replace(device, tag="theirs"))
    repositories.for_call().devices.release(device, released(device))
    with pytest.raises(DeviceWrongState):
        repositories.for_call().devices.amend(amended)


def test_a_move_is_a_compare_and_swap(repositories: Repositories) -> None:
    device = insert(repositories, a_device())
    moved = repositories.for_call().devices.move(device, DeviceStatus.ATTACHING)
    assert moved.status is DeviceStatus.ATTACHING
    assert repositories.for_call().devices.get(device.uuid) == moved
    with pytest.raises(DeviceWrongState):
        repositories.for_call().devices.move(device, DeviceStatus.ATTACHING)


def test_a_removed_row_does_not_move(repositories: Repositories) -> None:
    device = insert(repositories, a_device())
    repositories.for_call().devices.release(device, released(device))
    with pytest.raises(DeviceWrongState):
        repositories.for_call().devices.move(device, DeviceStatus.ATTACHING)


@pytest.mark.parametrize("status", DeviceStatus)
def test_only_legal_moves_are_made(repositories: Repositories, status: DeviceStatus) -> None:
    device = insert(repositories, a_device(status=status))
    for illegal in set(DeviceStatus) - LEGAL_MOVES[status]:
        with pytest.raises(DeviceWrongState):
            repositories.for_call().devices.move(device, illegal)
    for legal in LEGAL_MOVES[status]:
        other = insert(repositories, a_device(status=status))
        assert repositories.for_call().devices.move(other, legal).status is legal


def test_save_keeps_the_row_as_given(repositories: Repositories, clock: SteppedClock) -> None:
    device = insert(repositories, a_device())
    clock.pass_seconds(5)
    changed = replace(
        device,
        volume=VolumeId(new_uuid()),
        status=DeviceStatus.ATTACHED,
        attachment=AttachmentId(new_uuid()),
        address=PciAddress(bus=200, slot=1),
    )
    call = repositories.for_call()
    call.devices.save(changed)
    call.unit.commit()
    assert call.devices.get(device.uuid) == replace(changed, updated_at=clock.now())


def test_save_does_not_touch_a_removed_row(repositories: Repositories) -> None:
    device = insert(repositories, a_device())
    repositories.for_call().devices.release(device, released(device))
    call = repositories.for_call()
    call.devices.save(replace(device, tag="late"))
    call.unit.commit()
    assert call.devices.get(device.uuid).tag is None


def test_what_is_missing_is_found_on_its_host_alone(
    repositories: Repositories, database: Database, clock: SteppedClock
) -> None:
    here, there = an_instance(), an_instance(host="host-2")
    repositories.for_call().instances.insert(here)
    Repositories(database, "host-2", clock).for_call().instances.insert(there)
    mine, other = a_device(instance=here.uuid), a_device(instance=there.uuid)
    for device in (mine, other, a_device(instance=here.uuid)):
        insert(repositories, device)
    for device in (mine, other):
        call = repositories.for_call()
        call.devices.save(replace(device, status=DeviceStatus.MISSING))
        call.unit.commit()
    assert [row.uuid for row in repositories.for_call().devices.missing()] == [mine.uuid]
    gone = repositories.for_call()
    gone.devices.remove(mine)
    gone.unit.commit()
    assert repositories.for_call().devices.missing() == ()


def test_a_value_too_long_is_refused_as_one_where_lengths_count(
    repositories: Repositories, database: Database
) -> None:
    device = a_device(tag="x" * 256)
    if database.engine.dialect.name == "sqlite":
        assert insert(repositories, device).tag == device.tag
        return
    with pytest.raises(RequestMalformed):
        insert(repositories, device)


def test_a_long_connection_fits(repositories: Repositories) -> None:
    portals = [f"10.0.{n // 250}.{n % 250}:3260" for n in range(6000)]
    connection = Connection(protocol="iscsi", properties={"target_portals": portals})
    assert insert(repositories, a_device(connection=connection)).connection == connection


def test_an_insert_tells(repositories: Repositories) -> None:
    device: BlockDevice = a_device()
    repositories.for_call().devices.insert(device, reserved(device))
    (entry,) = repositories.outbox.waiting(9)
    assert entry.payload["block_device"] == device.public()
