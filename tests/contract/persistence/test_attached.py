"""The volumes of an instance, as an API tier lists them."""

from dataclasses import fields

from tests.contract.persistence.scenes import a_device, insert, released
from worker.model.block_device import BlockDevice, SourceType
from worker.model.connection import Connection
from worker.model.ids import AttachmentId, InstanceId, new_uuid
from worker.persistence.database import Database
from worker.persistence.fleet import Fleet
from worker.persistence.fleet.attached import AttachedVolume
from worker.persistence.repositories import Repositories


def as_listed(device: BlockDevice) -> AttachedVolume:
    """Return what a list has of a row."""
    names = [field.name for field in fields(AttachedVolume)]
    return AttachedVolume(**{name: getattr(device, name) for name in names})


def test_a_list_says_of_each_volume_what_its_row_says(
    repositories: Repositories, database: Database
) -> None:
    instance = InstanceId(new_uuid())
    volumes = [
        insert(repositories, device)
        for device in (
            a_device(
                instance=instance,
                device_name="/dev/vdb",
                attachment=AttachmentId(new_uuid()),
                connection=Connection(protocol="iscsi", properties={"target_lun": 1}),
                tag="database",
                delete_on_termination=True,
            ),
            a_device(instance=instance, device_name="/dev/vda"),
        )
    ]
    insert(repositories, a_device(instance=InstanceId(new_uuid())))

    found = Fleet(database).attached(instance)
    assert found == tuple(map(as_listed, volumes))


def test_no_local_disk_and_nothing_that_is_gone_is_a_volume_of_it(
    repositories: Repositories, database: Database
) -> None:
    instance = InstanceId(new_uuid())
    local = a_device(
        instance=instance, device_name="/dev/vda", volume=None, source_type=SourceType.BLANK
    )
    insert(repositories, local)
    gone = insert(repositories, a_device(instance=instance, device_name="/dev/vdb"))
    repositories.for_call().devices.release(gone, released(gone))

    assert Fleet(database).attached(instance) == ()
