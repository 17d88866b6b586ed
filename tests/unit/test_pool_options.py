"""The pool's volumes that are made to be treated in a way, and those that grow."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.pool_records import FakePoolRecords
from tests.unit.pool_scenes import CONNECTOR, GUEST, ONE, SIZE, Crash, make, raw_file
from worker.cmd import asking
from worker.cmd.main import main
from worker.errors import RequestMalformed, VolumeFileUnusable, VolumeNotFound, VolumeTaken
from worker.model.ids import VolumeId
from worker.model.volume import VolumeStatus
from worker.rpc.methods import OPERATIONS
from worker.rpc.reading import request_from
from worker.volume.pool.attachments import PoolAttachments
from worker.volume.pool.faces import LocalFace
from worker.volume.pool.volumes import FilePool

TREATED = {
    "qos_specs": {"total_bytes_sec": "1000000"},
    "discard": True,
    "logical_block_size": 512,
    "physical_block_size": 4096,
}


@pytest.fixture
def records() -> FakePoolRecords:
    return FakePoolRecords()


@pytest.fixture
def pool(records: FakePoolRecords, tmp_path: Path) -> FilePool:
    return FilePool(records=records, folder=tmp_path / "pool", face=LocalFace("host-1"))


@pytest.fixture
def attachments(records: FakePoolRecords) -> PoolAttachments:
    return PoolAttachments(records=records, face=LocalFace("host-1"))


def test_a_connection_says_how_its_volume_is_treated(
    pool: FilePool, attachments: PoolAttachments, tmp_path: Path
) -> None:
    encrypted = tmp_path / "encrypted"
    encrypted.write_bytes(bytes(1 << 20))
    make(pool, size=None, path=str(encrypted), encrypted=True, options=TREATED)

    said = attachments.connect(attachments.create(ONE, GUEST).id, CONNECTOR).properties

    assert said.items() >= {**TREATED, "encrypted": True}.items()


@pytest.mark.parametrize(
    "other", [{"options": {}}, {"options": TREATED, "encrypted": True}, {"options": {"discard": 1}}]
)
def test_another_treatment_is_another_volume(pool: FilePool, other: dict[str, Any]) -> None:
    made = make(pool, options=TREATED)

    assert make(pool, options=dict(TREATED)) == made
    with pytest.raises(VolumeTaken):
        make(pool, **other)


@pytest.mark.parametrize(
    "options",
    [
        {"qos_specs": {"total_bytes_sec": "fast"}},
        {"qos_specs": {"total_iops_sec": "1", "read_iops_sec": "1"}},
        {"logical_block_size": 513},
    ],
)
def test_a_treatment_that_no_guest_could_have_is_refused(
    pool: FilePool, records: FakePoolRecords, options: dict[str, Any]
) -> None:
    with pytest.raises(RequestMalformed):
        make(pool, options=options)
    assert records.volumes() == ()


def size_of(records: FakePoolRecords) -> tuple[int, int]:
    """Return what is recorded, and what the file has."""
    record = records.volume(ONE)
    assert record is not None
    return record.volume.size, Path(record.path).stat().st_size


def test_a_volume_grows_and_stays_whose_it_is(
    pool: FilePool, attachments: PoolAttachments, records: FakePoolRecords
) -> None:
    make(pool, name="data", options=TREATED)
    held = attachments.create(ONE, GUEST)
    attachments.connect(held.id, CONNECTOR)
    attachments.complete(held.id)

    for _ in range(2):
        grown = pool.grow(ONE, 2 * SIZE)
        assert (grown.size, grown.name, grown.status) == (2 * SIZE, "data", VolumeStatus.IN_USE)

    record = records.volume(ONE)
    assert record is not None
    assert (record.volume, record.options) == (grown, TREATED)
    assert size_of(records) == (2 * SIZE, 2 * SIZE)


@pytest.mark.parametrize("size", [0, -512, SIZE - 512, SIZE + 1, 1 << 63])
def test_what_no_volume_can_grow_to_is_refused(
    pool: FilePool, records: FakePoolRecords, size: int
) -> None:
    make(pool)

    with pytest.raises(RequestMalformed):
        pool.grow(ONE, size)
    assert size_of(records) == (SIZE, SIZE)


def test_what_is_no_volume_does_not_grow(pool: FilePool) -> None:
    with pytest.raises(VolumeNotFound):
        pool.grow(ONE, SIZE)


def test_a_file_of_others_has_to_have_grown_already(
    pool: FilePool, records: FakePoolRecords, tmp_path: Path
) -> None:
    file = raw_file(tmp_path / "a.raw")
    make(pool, path=file)

    for ask in (pool.check_growth, pool.grow):
        with pytest.raises(VolumeFileUnusable, match="make it so first"):
            ask(ONE, 2 * SIZE)
    assert size_of(records) == (SIZE, SIZE)
    os.truncate(file, 3 * SIZE)
    pool.check_growth(ONE, 2 * SIZE)
    pool.grow(ONE, 2 * SIZE)
    assert size_of(records) == (2 * SIZE, 3 * SIZE)


def test_a_file_is_made_smaller_by_nobody(pool: FilePool, records: FakePoolRecords) -> None:
    make(pool)
    record = records.volume(ONE)
    assert record is not None
    os.truncate(record.path, 3 * SIZE)

    pool.grow(ONE, 2 * SIZE)

    assert size_of(records) == (2 * SIZE, 3 * SIZE)


def test_a_file_that_is_not_on_this_host_is_seen_before_it_is_to_grow(
    pool: FilePool, records: FakePoolRecords
) -> None:
    make(pool)
    pool.check_growth(ONE, 2 * SIZE)
    assert size_of(records) == (SIZE, SIZE)
    record = records.volume(ONE)
    assert record is not None
    Path(record.path).unlink()
    with pytest.raises(VolumeFileUnusable):
        pool.check_growth(ONE, 2 * SIZE)


class CutOff(FakePoolRecords):
    """Records that are not reached the first time."""

    cut = False

    def set_size(self, volume: VolumeId, size: int) -> None:
        if not self.cut:
            self.cut = True
            raise Crash
        super().set_size(volume, size)


def test_a_growth_that_was_cut_off_is_finished_by_the_same_call(tmp_path: Path) -> None:
    records = CutOff()
    pool = FilePool(records=records, folder=tmp_path / "pool", face=LocalFace("host-1"))
    make(pool)

    with pytest.raises(Crash):
        pool.grow(ONE, 2 * SIZE)
    assert size_of(records) == (SIZE, 2 * SIZE)
    pool.grow(ONE, 2 * SIZE)
    assert size_of(records) == (2 * SIZE, 2 * SIZE)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []

    def carry_out(_arguments: object, method: str, **request: Any) -> dict[str, Any]:  # noqa: ANN401
        found.append((method, request))
        return {"state": "succeeded"}

    monkeypatch.setattr(asking, "carry_out", carry_out)
    monkeypatch.setattr(asking, "read", lambda *_given, **_named: {"id": ONE})
    return found


def test_words_become_arguments_of_the_bus(sent: list[tuple[str, dict[str, Any]]]) -> None:
    made = ["create", "data", "--id", ONE, "--size", "1M", "--encrypted", "--discard"]
    made += ["--qos", "total_bytes_sec=1000000", "--qos", "total_iops_sec=9"]
    made += ["--block-size", "512", "--physical-block-size", "4K"]
    assert main(["volume", *made]) == asking.DONE
    assert main(["volume", "create", "--id", ONE, "--size", "1M"]) == asking.DONE
    assert main(["volume", "extend", ONE, "2M"]) == asking.DONE

    methods = [method for method, _ in sent]
    first, plain, grown = (request_from(OPERATIONS[each].request, said) for each, said in sent)
    assert methods == ["create_volume", "create_volume", "grow_volume"]
    assert (first.encrypted, first.discard) == (True, True)
    assert first.qos_specs == {"total_bytes_sec": "1000000", "total_iops_sec": "9"}
    assert (first.logical_block_size, first.physical_block_size) == (512, 4096)
    assert (plain.encrypted, plain.discard, plain.qos_specs) == (False, False, {})
    assert (plain.logical_block_size, plain.physical_block_size) == (None, None)
    assert (grown.volume_id, grown.size) == (ONE, 2 * SIZE)


def test_a_limit_without_a_number_is_wrong_usage(
    sent: list[tuple[str, dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["volume", "create", "--size", "1M", "--qos", "fast"]) != asking.DONE
    assert "NAME=NUMBER" in capsys.readouterr().err
    assert sent == []
