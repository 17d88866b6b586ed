"""The pool's files: what is made, what is removed, what a crash leaves."""

import stat
from pathlib import Path

import pytest

from tests.unit.pool_scenes import (
    GUEST,
    ONE,
    SIZE,
    TWO,
    Crash,
    FailingRecords,
    everything_in,
    make,
    raw_file,
)
from worker.errors import (
    DatabaseUnavailable,
    RequestMalformed,
    VolumeFileUnusable,
    VolumeInUse,
    VolumeServiceUnavailable,
    VolumeTaken,
)
from worker.model.ids import VolumeId
from worker.model.volume import NewVolume, PoolVolume, Volume, VolumeStatus
from worker.volume.pool.attachments import PoolAttachments
from worker.volume.pool.faces import LocalFace
from worker.volume.pool.volumes import FilePool


@pytest.fixture
def records() -> FailingRecords:
    return FailingRecords()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "pool"


@pytest.fixture
def pool(records: FailingRecords, folder: Path) -> FilePool:
    return FilePool(records=records, folder=folder, face=LocalFace("host-1"))


@pytest.fixture
def attachments(records: FailingRecords) -> PoolAttachments:
    return PoolAttachments(records=records, face=LocalFace("host-1"))


def test_a_made_volume_is_a_sparse_private_file(
    pool: FilePool, records: FailingRecords, folder: Path
) -> None:
    volume = make(pool, size=1 << 40, name="big")

    file = folder / f"{ONE}.raw"
    state = file.stat()
    assert volume == Volume(id=ONE, size=1 << 40, status=VolumeStatus.AVAILABLE, name="big")
    assert (state.st_size, state.st_blocks, stat.S_IMODE(state.st_mode)) == (1 << 40, 0, 0o600)
    assert records.volume(ONE) == PoolVolume(volume=volume, path=str(file), owned=True)
    assert everything_in(folder) == {file.name}


@pytest.mark.parametrize("size", [0, -512, 1, 511, 513, (1 << 63), (1 << 70)])
def test_a_size_that_no_disk_has_is_refused(
    pool: FilePool, records: FailingRecords, folder: Path, size: int
) -> None:
    with pytest.raises(RequestMalformed, match="multiple of 512"):
        make(pool, size=size)

    assert records.volumes() == ()
    assert everything_in(folder) == set()


def test_a_size_that_the_filesystem_does_not_take_leaves_nothing(
    pool: FilePool, records: FailingRecords, folder: Path
) -> None:
    with pytest.raises(VolumeServiceUnavailable):
        make(pool, size=(1 << 63) - 512)

    assert records.volumes() == ()
    assert everything_in(folder) == set()


@pytest.mark.parametrize(("size", "path"), [(SIZE, "/a.raw"), (None, None)])
def test_size_and_file_exclude_each_other(
    pool: FilePool, size: int | None, path: str | None
) -> None:
    with pytest.raises(RequestMalformed, match="either"):
        pool.create(NewVolume(id=ONE, size=size, path=path))


@pytest.mark.parametrize("volume", ["", "one", "../../escape", ONE.upper() + "X"])
def test_an_id_that_is_no_uuid_is_refused(pool: FilePool, volume: str) -> None:
    with pytest.raises(RequestMalformed, match="UUID"):
        make(pool, VolumeId(volume))


def test_a_file_is_taken_in_place(
    pool: FilePool, records: FailingRecords, folder: Path, tmp_path: Path
) -> None:
    file = raw_file(tmp_path / "a.raw", head=b"data")

    volume = make(pool, path=file)

    assert volume.size == SIZE
    assert records.volume(ONE) == PoolVolume(volume=volume, path=str(file), owned=False)
    assert everything_in(folder) == set()
    assert file.read_bytes()[:4] == b"data"


def test_a_file_is_known_by_its_real_path(
    pool: FilePool, records: FailingRecords, tmp_path: Path
) -> None:
    file = raw_file(tmp_path / "a.raw")
    (tmp_path / "link").symlink_to(file)

    make(pool, path=tmp_path / "link")

    record = records.volume(ONE)
    assert record is not None
    assert record.path == str(file)


def test_one_file_is_one_volume(pool: FilePool, tmp_path: Path) -> None:
    file = raw_file(tmp_path / "a.raw")
    (tmp_path / "link").symlink_to(file)
    (tmp_path / "twin").hardlink_to(file)
    make(pool, path=file)

    for path in (file, tmp_path / "link", tmp_path / "twin", tmp_path / "." / "a.raw"):
        with pytest.raises(VolumeTaken, match=ONE):
            make(pool, TWO, path=path)


def test_the_file_of_another_volume_that_is_gone_is_in_nobodys_way(
    pool: FilePool, tmp_path: Path
) -> None:
    gone = raw_file(tmp_path / "a.raw")
    make(pool, path=gone)
    gone.unlink()

    assert make(pool, TWO, path=raw_file(tmp_path / "b.raw")).id == TWO


def test_the_same_volume_again_is_fine(pool: FilePool, tmp_path: Path) -> None:
    file = raw_file(tmp_path / "a.raw")
    made, taken = make(pool, name="a"), make(pool, TWO, path=file)
    file.unlink()

    assert make(pool, name="a") == made
    assert make(pool, TWO, path=file) == taken


@pytest.mark.parametrize("change", ["size", "name", "multiattach", "project", "path"])
def test_another_volume_under_the_same_id_is_refused(
    pool: FilePool, tmp_path: Path, change: str
) -> None:
    made = make(pool)

    with pytest.raises(VolumeTaken, match="another"):
        make(
            pool,
            size=SIZE * 2 if change == "size" else SIZE,
            name="other" if change == "name" else "",
            multiattach=change == "multiattach",
            project_id="p-1" if change == "project" else None,
            path=raw_file(tmp_path / "a.raw") if change == "path" else None,
        )

    assert pool.list() == (made,)


def test_volumes_are_listed_by_name_and_id(pool: FilePool) -> None:
    make(pool, TWO, name="b")
    make(pool, ONE, name="b")
    third = VolumeId("00000000-0000-4000-8000-000000000000")
    make(pool, third, name="c")

    assert [volume.id for volume in pool.list()] == [ONE, TWO, third]


def test_deleting_removes_only_a_file_that_the_pool_made(
    pool: FilePool, folder: Path, tmp_path: Path
) -> None:
    file = raw_file(tmp_path / "a.raw")
    make(pool, ONE)
    make(pool, TWO, path=file)

    pool.delete(ONE)
    pool.delete(TWO)

    assert pool.list() == ()
    assert everything_in(folder) == set()
    assert file.exists()


@pytest.mark.parametrize("volume", [ONE, "no uuid", "../a"])
def test_deleting_what_is_not_there_is_fine(pool: FilePool, tmp_path: Path, volume: str) -> None:
    stranger = raw_file(tmp_path / "a.raw")

    pool.delete(VolumeId(volume))
    pool.delete(VolumeId(volume))

    assert stranger.exists()


def test_a_volume_whose_folder_is_gone_can_be_deleted(pool: FilePool, folder: Path) -> None:
    make(pool)
    (folder / f"{ONE}.raw").unlink()
    folder.rmdir()

    pool.delete(ONE)

    assert pool.list() == ()


def test_an_attached_volume_is_not_deleted(
    pool: FilePool, attachments: PoolAttachments, folder: Path
) -> None:
    make(pool)
    held = attachments.create(ONE, GUEST)

    with pytest.raises(VolumeInUse):
        pool.delete(ONE)
    assert everything_in(folder) == {f"{ONE}.raw"}

    attachments.delete(held.id)
    pool.delete(ONE)
    assert everything_in(folder) == set()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_create_that_was_cut_off_is_completed(
    pool: FilePool, records: FailingRecords, folder: Path, when: str
) -> None:
    setattr(records, when, Crash())
    with pytest.raises(Crash):
        make(pool)

    volume = make(pool)

    assert pool.list() == (volume,)
    assert everything_in(folder) == {f"{ONE}.raw"}


def test_a_create_that_was_cut_off_in_the_file_is_completed(pool: FilePool, folder: Path) -> None:
    folder.mkdir()
    (folder / f".{ONE}.raw.unfinished").write_bytes(b"half")

    make(pool)

    assert everything_in(folder) == {f"{ONE}.raw"}
    assert (folder / f"{ONE}.raw").stat().st_size == SIZE


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_create_that_was_cut_off_can_be_taken_back(
    pool: FilePool, records: FailingRecords, folder: Path, when: str
) -> None:
    setattr(records, when, Crash())
    with pytest.raises(Crash):
        make(pool)

    pool.delete(ONE)

    assert pool.list() == ()
    assert everything_in(folder) == set()


def test_a_create_whose_record_failed_leaves_nothing(
    pool: FilePool, records: FailingRecords, folder: Path
) -> None:
    records.before = DatabaseUnavailable("gone")

    with pytest.raises(DatabaseUnavailable):
        make(pool)

    assert pool.list() == ()
    assert everything_in(folder) == set()


def test_a_create_whose_record_was_kept_although_it_failed_keeps_the_file(
    pool: FilePool, records: FailingRecords, folder: Path
) -> None:
    records.after = DatabaseUnavailable("lost the answer")

    with pytest.raises(DatabaseUnavailable):
        make(pool)

    assert everything_in(folder) == {f"{ONE}.raw"}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_delete_that_was_cut_off_is_completed(
    pool: FilePool, records: FailingRecords, folder: Path, when: str
) -> None:
    make(pool)
    (folder / f"{ONE}.raw").write_bytes(b"data" * 128)
    setattr(records, when, Crash())
    with pytest.raises(Crash):
        pool.delete(ONE)

    pool.delete(ONE)

    assert pool.list() == ()
    assert everything_in(folder) == set()


def test_a_file_that_no_volume_owns_is_neither_overwritten_nor_removed(
    pool: FilePool, folder: Path
) -> None:
    folder.mkdir()
    stranger = raw_file(folder / f"{ONE}.raw", head=b"precious")

    with pytest.raises(VolumeFileUnusable, match="move it away"):
        make(pool)
    pool.delete(ONE)

    assert stranger.read_bytes()[:8] == b"precious"


def test_a_pool_that_cannot_be_written_is_unavailable(
    records: FailingRecords, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    pool = FilePool(records=records, folder=tmp_path / "file" / "pool", face=LocalFace("host-1"))

    with pytest.raises(VolumeServiceUnavailable, match="file/pool"):
        make(pool)
