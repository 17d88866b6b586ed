from sqlalchemy import MetaData, Table, select

from tests.contract.persistence.scenes import a_device, insert, reserved
from worker.model.connection import Connection
from worker.model.ids import AttachmentId, new_uuid
from worker.model.volume import Attachment, AttachmentStatus, VolumeStatus
from worker.persistence.database import Database
from worker.persistence.repositories import Repositories

from .test_pool_records import a_volume

PLANTED = "hunter2-planted"
CONNECTION = Connection(
    protocol="iscsi",
    properties={
        "auth_username": PLANTED,
        "auth_password": PLANTED,
        "discovery_auth_password": PLANTED,
        "target_lun": 1,
        "nested": [{"keyring": PLANTED, "secret_key": PLANTED}],
    },
)


def everything(database: Database) -> str:
    """Return every value of every table as text."""
    metadata = MetaData()
    metadata.reflect(database.engine)

    def dump(table: Table) -> str:
        return database.read(lambda connection: repr(connection.execute(select(table)).all()))

    return "".join(dump(table) for table in metadata.tables.values())


def test_no_table_holds_a_connections_secrets(
    repositories: Repositories, database: Database
) -> None:
    device = a_device(connection=CONNECTION)
    call = repositories.for_call()
    call.devices.insert(device, reserved(device))
    call.connections.put(device, CONNECTION)
    call.devices.save(device)
    call.updates.tell(reserved(device))
    call.unit.commit()
    volume = a_volume()
    repositories.pool.put_volume(volume)
    attachment = Attachment(
        id=AttachmentId(new_uuid()),
        volume=volume.volume.id,
        instance=device.instance,
        status=AttachmentStatus.ATTACHED,
        connection=CONNECTION,
    )
    repositories.pool.put_attachment(attachment, VolumeStatus.IN_USE)

    kept = everything(database)
    assert "target_lun" in kept
    assert PLANTED not in kept


def test_a_connection_is_the_same_without_its_secrets(repositories: Repositories) -> None:
    device = insert(repositories, a_device(connection=CONNECTION))
    assert device.connection == CONNECTION.without_secrets()
