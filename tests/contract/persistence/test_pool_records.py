from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from tests.fakes.pool_records import FakePoolRecords
from worker.errors import VolumeInUse, VolumeTaken
from worker.model.connection import Connection
from worker.model.ids import AttachmentId, InstanceId, VolumeId, new_uuid
from worker.model.volume import Attachment, AttachmentStatus, PoolVolume, Volume, VolumeStatus
from worker.persistence.repositories import Repositories
from worker.ports import PoolRecords


def a_volume(**fields: Any) -> PoolVolume:  # noqa: ANN401 - of any field
    given: dict[str, Any] = {
        "id": VolumeId(new_uuid()),
        "size": 5 << 30,
        "status": VolumeStatus.AVAILABLE,
    }
    volume = Volume(**(given | fields))
    return PoolVolume(volume=volume, path=f"/pool/{volume.id}", owned=True)


def an_attachment(volume: PoolVolume) -> Attachment:
    return Attachment(
        id=AttachmentId(new_uuid()),
        volume=volume.volume.id,
        instance=InstanceId(new_uuid()),
        status=AttachmentStatus.RESERVED,
    )


@pytest.fixture(params=["fake", "sql"])
def pool(request: pytest.FixtureRequest, repositories: Repositories) -> PoolRecords:
    return FakePoolRecords() if request.param == "fake" else repositories.pool


def status(pool: PoolRecords, volume: PoolVolume) -> VolumeStatus:
    found = pool.volume(volume.volume.id)
    assert found is not None
    return found.volume.status


def test_a_volume_is_kept_changed_and_forgotten(pool: PoolRecords) -> None:
    volume = a_volume(name="ü", volume_type="t", multiattach=True, encrypted=True)
    pool.put_volume(volume)
    assert pool.volumes() == (volume,)
    changed = replace(volume, volume=replace(volume.volume, size=9 << 40, name="n"), owned=False)
    pool.put_volume(changed)
    assert pool.volume(volume.volume.id) == changed
    for _ in range(2):
        pool.drop_volume(volume.volume.id)
    assert pool.volume(volume.volume.id) is None


def test_whose_a_volume_is_and_who_made_it_when_is_kept(pool: PoolRecords) -> None:
    volume = a_volume(project_id="p-1")
    pool.put_volume(volume)
    made = pool.volume(volume.volume.id)
    assert made is not None
    assert (made.volume.project_id, made.host) == ("p-1", "host-1")
    assert made.created_at is not None
    pool.put_volume(replace(volume, volume=replace(volume.volume, name="n", project_id="p-2")))
    pool.set_size(volume.volume.id, 9 << 40)
    pool.set_status(volume.volume.id, VolumeStatus.ERROR, only_from=(VolumeStatus.AVAILABLE,))
    kept = pool.volume(volume.volume.id)
    assert kept is not None
    assert (kept.volume.project_id, kept.volume.name) == ("p-2", "n")
    assert (kept.host, kept.created_at) == (made.host, made.created_at)


def test_two_volumes_do_not_share_a_file(pool: PoolRecords) -> None:
    volume = a_volume()
    pool.put_volume(volume)
    with pytest.raises(VolumeTaken):
        pool.put_volume(replace(a_volume(), path=volume.path))
    upper = replace(a_volume(), path=volume.path.upper())
    pool.put_volume(upper)
    with pytest.raises(VolumeTaken):
        pool.put_volume(replace(upper, path=volume.path))


def test_a_status_changes_only_from_what_was_expected(pool: PoolRecords) -> None:
    volume = a_volume()
    pool.put_volume(volume)
    only_from = (VolumeStatus.IN_USE, VolumeStatus.ATTACHING)
    assert not pool.set_status(volume.volume.id, VolumeStatus.DETACHING, only_from=only_from)
    assert status(pool, volume) is VolumeStatus.AVAILABLE
    only_from = (VolumeStatus.AVAILABLE, VolumeStatus.ATTACHING)
    assert pool.set_status(volume.volume.id, VolumeStatus.DETACHING, only_from=only_from)
    assert status(pool, volume) is VolumeStatus.DETACHING
    assert not pool.set_status(VolumeId(new_uuid()), VolumeStatus.ERROR, only_from=only_from)


def test_an_attachment_lives_with_its_volume(pool: PoolRecords) -> None:
    volume = a_volume()
    pool.put_volume(volume)
    attachment = an_attachment(volume)
    pool.reserve(attachment)
    assert status(pool, volume) is VolumeStatus.RESERVED
    connected = replace(
        attachment,
        status=AttachmentStatus.ATTACHED,
        connection=Connection(protocol="local", properties={"device_path": "/p"}),
    )
    pool.put_attachment(connected, VolumeStatus.IN_USE)
    assert status(pool, volume) is VolumeStatus.IN_USE
    assert pool.attachment(attachment.id) == connected
    assert pool.attachments(volume.volume.id) == (connected,)
    with pytest.raises(VolumeInUse):
        pool.drop_volume(volume.volume.id)
    for _ in range(2):
        pool.drop_attachment(attachment.id)
    assert pool.attachment(attachment.id) is None
    assert status(pool, volume) is VolumeStatus.AVAILABLE


def test_a_volume_is_reserved_once(pool: PoolRecords) -> None:
    volume = a_volume()
    pool.put_volume(volume)
    pool.reserve(an_attachment(volume))
    refused = an_attachment(volume)
    with pytest.raises(VolumeInUse):
        pool.reserve(refused)
    assert pool.attachment(refused.id) is None


def test_a_shared_volume_is_reserved_once_an_instance(pool: PoolRecords) -> None:
    volume = a_volume(multiattach=True)
    pool.put_volume(volume)
    one, other = an_attachment(volume), an_attachment(volume)
    pool.reserve(one)
    pool.reserve(other)
    with pytest.raises(VolumeInUse):
        pool.reserve(replace(one, id=AttachmentId(new_uuid())))
    pool.drop_attachment(one.id)
    assert status(pool, volume) is VolumeStatus.RESERVED
    pool.drop_attachment(other.id)
    assert status(pool, volume) is VolumeStatus.AVAILABLE


def test_of_many_reservations_one_wins(pool: PoolRecords) -> None:
    volume = a_volume()
    pool.put_volume(volume)

    def reserve(_number: int) -> bool:
        try:
            pool.reserve(an_attachment(volume))
        except VolumeInUse:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(reserve, range(8))) == 1
    assert len(pool.attachments(volume.volume.id)) == 1


def test_the_last_of_two_that_leave_at_once_frees_the_volume(pool: PoolRecords) -> None:
    volume = a_volume(multiattach=True)
    pool.put_volume(volume)
    for _ in range(5):
        both = [an_attachment(volume) for _ in range(2)]
        for attachment in both:
            pool.reserve(attachment)
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda one: pool.drop_attachment(one.id), both))
        assert status(pool, volume) is VolumeStatus.AVAILABLE


def test_the_attachments_of_an_instance_are_those_of_all_volumes(pool: PoolRecords) -> None:
    volumes = [a_volume(), a_volume(multiattach=True)]
    for volume in volumes:
        pool.put_volume(volume)
    mine = [an_attachment(volume) for volume in volumes]
    mine = [replace(held, instance=mine[0].instance) for held in mine]
    for held in (*mine, an_attachment(volumes[1])):
        pool.reserve(held)
    found = pool.attachments_of(mine[0].instance or InstanceId(""))
    assert {held.id for held in found} == {held.id for held in mine}
    assert pool.attachments_of(InstanceId(new_uuid())) == ()
