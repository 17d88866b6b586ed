"""What the tests of the pool share: ids, files, records that fail."""

from pathlib import Path
from typing import Any

from tests.fakes.pool_records import FakePoolRecords
from worker.model.ids import InstanceId, VolumeId
from worker.model.volume import NewVolume, PoolVolume, Volume
from worker.volume.pool.volumes import FilePool

ONE = VolumeId("11111111-1111-4111-8111-111111111111")
TWO = VolumeId("22222222-2222-4222-8222-222222222222")
GUEST = InstanceId("33333333-3333-4333-8333-333333333333")
OTHER_GUEST = InstanceId("44444444-4444-4444-8444-444444444444")
SIZE = 1 << 20
CONNECTOR = {"host": "host-1"}


class Crash(BaseException):
    """kill -9, as far as a test without processes can have it."""


class FailingRecords(FakePoolRecords):
    """Records that fail once, before or after they have kept what they were given."""

    def __init__(self) -> None:
        super().__init__()
        self.before: BaseException | None = None
        self.after: BaseException | None = None

    def put_volume(self, volume: PoolVolume) -> None:
        self._maybe("before")
        super().put_volume(volume)
        self._maybe("after")

    def drop_volume(self, volume: VolumeId) -> None:
        self._maybe("before")
        super().drop_volume(volume)
        self._maybe("after")

    def _maybe(self, when: str) -> None:
        failure = getattr(self, when)
        setattr(self, when, None)
        if failure is not None:
            raise failure


def make(
    pool: FilePool,
    volume: VolumeId = ONE,
    *,
    size: int | None = SIZE,
    path: Path | str | None = None,
    name: str = "",
    multiattach: bool = False,
    encrypted: bool = False,
    project_id: str | None = None,
    options: dict[str, Any] | None = None,
) -> Volume:
    return pool.create(
        NewVolume(
            id=volume,
            size=None if path is not None else size,
            path=None if path is None else str(path),
            name=name,
            multiattach=multiattach,
            encrypted=encrypted,
            project_id=project_id,
            options=options or {},
        )
    )


def raw_file(path: Path, size: int = SIZE, head: bytes = b"") -> Path:
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
    return path


def everything_in(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()} if folder.exists() else set()
