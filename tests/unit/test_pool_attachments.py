"""The pool's attachments: the state of the file, of the connector, of a shared volume."""

import os
from pathlib import Path

import pytest

from tests.fakes.pool_records import FakePoolRecords
from tests.unit.pool_scenes import CONNECTOR, GUEST, ONE, OTHER_GUEST, SIZE, make, raw_file
from worker.errors import RequestMalformed, VolumeFileUnusable, VolumeInUse, WrongDevice
from worker.model.volume import VolumeStatus
from worker.volume.pool.attachments import PoolAttachments
from worker.volume.pool.faces import LocalFace
from worker.volume.pool.status import PoolStatus
from worker.volume.pool.volumes import FilePool


@pytest.fixture
def records() -> FakePoolRecords:
    return FakePoolRecords()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "pool"


@pytest.fixture
def pool(records: FakePoolRecords, folder: Path) -> FilePool:
    return FilePool(records=records, folder=folder, face=LocalFace("host-1"))


@pytest.fixture
def attachments(records: FakePoolRecords) -> PoolAttachments:
    return PoolAttachments(records=records, face=LocalFace("host-1"))


def test_a_file_that_is_gone_is_told_at_connect(
    pool: FilePool, attachments: PoolAttachments, tmp_path: Path
) -> None:
    file = raw_file(tmp_path / "a.raw")
    make(pool, path=file)
    held = attachments.create(ONE, GUEST)
    file.unlink()

    with pytest.raises(VolumeFileUnusable, match="does not exist"):
        attachments.connect(held.id, CONNECTOR)
    assert attachments.get(held.id) == held


def test_a_file_that_shrank_is_told_at_connect(
    pool: FilePool, attachments: PoolAttachments, tmp_path: Path
) -> None:
    file = raw_file(tmp_path / "a.raw")
    make(pool, path=file)
    held = attachments.create(ONE, GUEST)
    os.truncate(file, SIZE - 512)

    with pytest.raises(WrongDevice, match=r"1048064 bytes, fewer than the 1048576"):
        attachments.connect(held.id, CONNECTOR)


def test_a_file_that_grew_can_be_connected(
    pool: FilePool, attachments: PoolAttachments, tmp_path: Path
) -> None:
    file = raw_file(tmp_path / "a.raw")
    make(pool, path=file)
    os.truncate(file, SIZE * 2)

    connection = attachments.connect(attachments.create(ONE, GUEST).id, CONNECTOR)

    assert connection.protocol == "local"
    assert connection.properties == {
        "device_path": str(file),
        "access_mode": "rw",
        "volume_id": ONE,
    }


@pytest.mark.parametrize("connector", [{}, {"host": None}, {"host": "host-2"}])
def test_a_connector_of_another_host_is_refused(
    pool: FilePool, attachments: PoolAttachments, connector: dict[str, object]
) -> None:
    make(pool)
    held = attachments.create(ONE, GUEST)

    with pytest.raises(RequestMalformed, match="host-1"):
        attachments.connect(held.id, connector)


def test_an_attachment_is_not_complete_before_it_is_connected(
    pool: FilePool, attachments: PoolAttachments
) -> None:
    make(pool)

    with pytest.raises(VolumeInUse, match="never connected"):
        attachments.complete(attachments.create(ONE, GUEST).id)


class TestShared:
    """A volume that takes several attachments."""

    @pytest.fixture
    def status(self, pool: FilePool, records: FakePoolRecords) -> PoolStatus:
        make(pool, multiattach=True)
        return PoolStatus(records=records)

    def test_it_goes_to_several_instances(
        self, status: PoolStatus, attachments: PoolAttachments
    ) -> None:
        one, two = attachments.create(ONE, GUEST), attachments.create(ONE, OTHER_GUEST)

        connection = attachments.connect(one.id, CONNECTOR)

        assert one.id != two.id
        assert connection.properties["multiattach"] is True

    @pytest.mark.parametrize("steps", ["reserved", "connected"])
    def test_a_newcomer_that_leaves_again_leaves_it_in_use(
        self, status: PoolStatus, attachments: PoolAttachments, steps: str
    ) -> None:
        first = attachments.create(ONE, GUEST)
        attachments.connect(first.id, CONNECTOR)
        attachments.complete(first.id)
        second = attachments.create(ONE, OTHER_GUEST)
        if steps == "connected":
            attachments.connect(second.id, CONNECTOR)

        attachments.delete(second.id)

        assert status.show(ONE).status is VolumeStatus.IN_USE

    def test_it_is_available_when_the_last_has_left(
        self, status: PoolStatus, attachments: PoolAttachments
    ) -> None:
        held = [attachments.create(ONE, guest) for guest in (GUEST, OTHER_GUEST)]
        for one in held:
            attachments.connect(one.id, CONNECTOR)
            attachments.complete(one.id)

        states = []
        for one in held:
            status.begin_detaching(ONE)
            attachments.delete(one.id)
            states.append(status.show(ONE).status)

        assert states == [VolumeStatus.IN_USE, VolumeStatus.AVAILABLE]


def test_begin_detaching_of_a_volume_that_is_gone_is_fine(records: FakePoolRecords) -> None:
    status = PoolStatus(records=records)

    status.begin_detaching(ONE)
    status.roll_detaching(ONE)
