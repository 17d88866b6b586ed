"""What every volume service promises: the pool, the fake that handlers are tested on, and more."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.cinder_labs import Storage, by_keystone, service_of
from tests.contract.cinder_server import served
from tests.fakes.pool_records import FakePoolRecords
from tests.fakes.volume_service import FakeAttachments, FakePoolVolumes, FakeVolumes
from tests.fakes.world import World
from tests.tgtds import exporting, private_tgtd
from worker.errors import AttachmentNotFound, RequestMalformed, VolumeInUse, VolumeNotFound
from worker.model.ids import AttachmentId, InstanceId, VolumeId
from worker.model.volume import AttachmentStatus, NewVolume, Volume, VolumeStatus
from worker.persistence.database import Database
from worker.persistence.engine import make_engine
from worker.persistence.migrate import upgrade
from worker.persistence.repositories import Repositories
from worker.ports import Attachments, PoolRecords, PoolVolumes, Volumes
from worker.volume.pool.attachments import PoolAttachments
from worker.volume.pool.faces import LocalFace
from worker.volume.pool.status import PoolStatus
from worker.volume.pool.volumes import FilePool
from worker.wiring.core import SystemClock

ONE = VolumeId("11111111-1111-4111-8111-111111111111")
TWO = VolumeId("22222222-2222-4222-8222-222222222222")
GUEST = InstanceId("33333333-3333-4333-8333-333333333333")
OTHER_GUEST = InstanceId("44444444-4444-4444-8444-444444444444")
UNKNOWN = AttachmentId("55555555-5555-4555-8555-555555555555")
SIZE = 1 << 30
CONNECTOR = {"host": "host-1", "ip": "192.0.2.1", "initiator": "iqn.2026-01.org.example:host-1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One volume service, as its ports."""

    volumes: Volumes
    attachments: Attachments
    pool: PoolVolumes

    def make(self, volume: VolumeId = ONE, *, shared: bool = False) -> Volume:
        return self.pool.create(NewVolume(id=volume, size=SIZE, multiattach=shared))

    def status(self) -> VolumeStatus:
        return self.volumes.show(ONE).status

    def attach(self, guest: InstanceId = GUEST) -> AttachmentId:
        """Go all the way to in-use."""
        held = self.attachments.create(ONE, guest)
        self.attachments.connect(held.id, CONNECTOR)
        self.attachments.complete(held.id)
        return held.id


def pool_on(records: PoolRecords, folder: Path) -> Service:
    return Service(
        volumes=PoolStatus(records=records),
        attachments=PoolAttachments(records=records, face=LocalFace("host-1")),
        pool=FilePool(records=records, folder=folder / "pool", face=LocalFace("host-1")),
    )


@contextmanager
def pool_over_iscsi(folder: Path) -> Iterator[Service]:
    with private_tgtd() as daemon:
        made = exporting(daemon, folder / "pool")
        volumes = PoolStatus(records=made.records)
        yield Service(volumes=volumes, attachments=made.attachments, pool=made.pool)


@contextmanager
def pool_in_memory(folder: Path) -> Iterator[Service]:
    yield pool_on(FakePoolRecords(), folder)


@contextmanager
def pool_in_sqlite(folder: Path) -> Iterator[Service]:
    engine = make_engine(f"sqlite:///{folder}/worker.db")
    upgrade(engine)
    yield pool_on(Repositories(Database(engine), "host-1", SystemClock()).pool, folder)
    engine.dispose()


@contextmanager
def fake(_: Path) -> Iterator[Service]:
    world = World()
    yield Service(
        volumes=FakeVolumes(world), attachments=FakeAttachments(world), pool=FakePoolVolumes(world)
    )


@contextmanager
def cinder(_: Path) -> Iterator[Service]:
    with served() as server:
        made = service_of(by_keystone(server))
        yield Service(
            volumes=made.volumes, attachments=made.attachments, pool=Storage(server, made.pool)
        )


@pytest.fixture(params=[pool_in_memory, pool_in_sqlite, pool_over_iscsi, fake, cinder])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    build: Callable[[Path], AbstractContextManager[Service]] = request.param
    with build(tmp_path) as made:
        yield made


def test_a_new_volume_is_available(service: Service) -> None:
    made = service.make()

    assert service.volumes.show(ONE) == made
    assert (made.size, made.status) == (SIZE, VolumeStatus.AVAILABLE)


def test_making_it_again_changes_nothing(service: Service) -> None:
    assert service.make() == service.make()
    assert len(service.pool.list()) == 1


def test_an_unknown_volume_is_not_found(service: Service) -> None:
    with pytest.raises(VolumeNotFound):
        service.volumes.show(ONE)
    with pytest.raises(VolumeNotFound):
        service.attachments.create(ONE, GUEST)


def test_an_unknown_attachment_is_not_found(service: Service) -> None:
    service.make()

    with pytest.raises(AttachmentNotFound):
        service.attachments.get(UNKNOWN)
    assert service.attachments.find(ONE, GUEST) is None


def test_an_attachment_reserves_the_volume(service: Service) -> None:
    service.make()

    held = service.attachments.create(ONE, GUEST)

    assert service.status() is VolumeStatus.RESERVED
    assert (held.volume, held.instance) == (ONE, GUEST)
    assert (held.status, held.connection) == (AttachmentStatus.RESERVED, None)
    assert service.attachments.get(held.id) == held
    assert service.attachments.find(ONE, GUEST) == held


def test_reserving_again_answers_the_attachment_there_is(service: Service) -> None:
    service.make()
    held = service.attachments.create(ONE, GUEST)

    assert service.attachments.create(ONE, GUEST) == held


def test_a_reserved_volume_is_nobody_elses(service: Service) -> None:
    service.make()
    service.attachments.create(ONE, GUEST)

    with pytest.raises(VolumeInUse):
        service.attachments.create(ONE, OTHER_GUEST)
    assert service.attachments.find(ONE, OTHER_GUEST) is None


def test_connecting_is_kept_and_answered_again(service: Service) -> None:
    service.make()
    held = service.attachments.create(ONE, GUEST)

    connection = service.attachments.connect(held.id, CONNECTOR)

    assert service.status() is VolumeStatus.ATTACHING
    kept = service.attachments.get(held.id)
    assert (kept.status, kept.connection) == (AttachmentStatus.ATTACHING, connection)
    assert service.attachments.connect(held.id, CONNECTOR) == connection


def test_connecting_or_completing_an_unknown_attachment_fails(service: Service) -> None:
    with pytest.raises(AttachmentNotFound):
        service.attachments.connect(UNKNOWN, CONNECTOR)
    with pytest.raises(AttachmentNotFound):
        service.attachments.complete(UNKNOWN)


def test_a_completed_attachment_has_the_volume_in_use(service: Service) -> None:
    service.make()

    held = service.attach()
    service.attachments.complete(held)

    assert service.status() is VolumeStatus.IN_USE
    assert service.attachments.get(held).status is AttachmentStatus.ATTACHED


def test_detaching_is_marked_and_rolled_back(service: Service) -> None:
    service.make()
    service.attach()

    for _ in range(2):
        service.volumes.begin_detaching(ONE)
    marked = service.status()
    for _ in range(2):
        service.volumes.roll_detaching(ONE)

    assert (marked, service.status()) == (VolumeStatus.DETACHING, VolumeStatus.IN_USE)


def test_what_is_not_in_use_is_not_marked_as_detaching(service: Service) -> None:
    service.make()

    service.volumes.begin_detaching(ONE)
    service.volumes.roll_detaching(ONE)

    assert service.status() is VolumeStatus.AVAILABLE


@pytest.mark.parametrize("detaching", ["marked", "unmarked"])
def test_a_deleted_attachment_frees_the_volume(service: Service, detaching: str) -> None:
    service.make()
    held = service.attach()
    if detaching == "marked":
        service.volumes.begin_detaching(ONE)

    for _ in range(2):
        service.attachments.delete(held)

    assert service.status() is VolumeStatus.AVAILABLE
    assert service.attachments.find(ONE, GUEST) is None
    assert service.attachments.create(ONE, OTHER_GUEST).id != held


def test_deleting_an_unknown_attachment_is_fine(service: Service) -> None:
    service.make()
    held = service.attach()

    service.attachments.delete(UNKNOWN)

    assert service.attachments.get(held).status is AttachmentStatus.ATTACHED


def test_a_volume_with_an_attachment_is_not_deleted(service: Service) -> None:
    service.make()
    held = service.attachments.create(ONE, GUEST)

    with pytest.raises(VolumeInUse):
        service.pool.delete(ONE)
    assert service.attachments.connect(held.id, CONNECTOR).protocol


def test_a_deleted_volume_is_gone_and_deleting_it_again_is_fine(service: Service) -> None:
    service.make()
    kept = service.make(TWO)

    for _ in range(2):
        service.pool.delete(ONE)

    assert service.pool.list() == (kept,)


def test_a_shared_volume_takes_an_attachment_for_each_guest(service: Service) -> None:
    service.make(shared=True)
    held = [service.attach(GUEST), service.attach(OTHER_GUEST)]

    assert service.status() is VolumeStatus.IN_USE
    assert len(set(held)) == len(held)
    assert service.attachments.create(ONE, GUEST).id == held[0]


def test_a_shared_volume_is_never_detaching(service: Service) -> None:
    service.make(shared=True)
    service.attach()

    service.volumes.begin_detaching(ONE)

    assert service.status() is VolumeStatus.IN_USE


def test_a_shared_volume_is_what_those_who_stay_make_it(service: Service) -> None:
    service.make(shared=True)
    staying, leaving = service.attach(GUEST), service.attachments.create(ONE, OTHER_GUEST)

    statuses = [service.status()]
    for held in (leaving.id, staying):
        service.attachments.delete(held)
        statuses.append(service.status())

    assert statuses == [VolumeStatus.RESERVED, VolumeStatus.IN_USE, VolumeStatus.AVAILABLE]


def test_an_instance_has_its_attachments_and_no_others(service: Service) -> None:
    service.make(ONE)
    service.make(TWO)
    mine = service.attachments.create(ONE, GUEST)
    service.attachments.create(TWO, OTHER_GUEST)
    assert service.attachments.of_instance(GUEST) == (mine,)
    service.attachments.delete(mine.id)
    assert service.attachments.of_instance(GUEST) == ()


@pytest.fixture(params=[pool_in_memory, pool_in_sqlite, pool_over_iscsi, fake])
def growing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """Cinder's volumes grow by other hands."""
    build: Callable[[Path], AbstractContextManager[Service]] = request.param
    with build(tmp_path) as made:
        yield made


def test_a_volume_grows_and_stays_whose_it_is(growing: Service) -> None:
    growing.make()
    held = growing.attach()
    before = growing.attachments.get(held)

    for _ in range(2):
        grown = growing.pool.grow(ONE, 2 * SIZE)
        assert (grown, grown.size) == (growing.volumes.show(ONE), 2 * SIZE)

    assert growing.status() is VolumeStatus.IN_USE
    assert growing.attachments.get(held) == before
    growing.attachments.delete(held)


def test_a_volume_becomes_no_smaller_and_what_is_none_does_not_grow(growing: Service) -> None:
    made = growing.make()

    for ask in (growing.pool.check_growth, growing.pool.grow):
        with pytest.raises(RequestMalformed):
            ask(ONE, SIZE - 512)
        with pytest.raises(VolumeNotFound):
            ask(TWO, SIZE)
    growing.pool.check_growth(ONE, 2 * SIZE)
    assert growing.volumes.show(ONE) == made
