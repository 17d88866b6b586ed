"""Three brokers; the one that leads the operations queue is killed while messages flow."""

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import RowMapping, Table, select

from tests import guests
from tests.bus_worker import dead_letters, eventually
from tests.guests import GuestMaker
from tests.outages import insist, without_copies
from tests.rig import Json, Rig, running
from tests.services.test_bus_rabbitmq import listening
from tests.services_rabbitmq import Cluster, RabbitMQ, private_cluster
from worker.model.ids import new_uuid
from worker.persistence.engine import make_engine
from worker.persistence.schema import OPERATIONS, UPDATES
from worker.rpc.bus import BusSettings
from worker.rpc.methods import OPERATIONS as METHODS

pytestmark = pytest.mark.timeout(300)

HOST = "host-1"
GUESTS = 3
FLOWING = 15
"""So many detaches heard to end show that the stream flows."""

PACE = 0.1
LAST_MOMENT = 0.5
PATIENCE = 60.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with private_cluster() as found:
        yield found


@pytest.fixture
def settings(cluster: Cluster) -> BusSettings:
    return BusSettings(url=cluster.url, host=HOST)


@pytest.fixture
def make_guest(libvirtd: str, tmp_path: Path) -> Iterator[GuestMaker]:
    with guests.guest_maker(libvirtd, guests.cached_guest_image(), tmp_path) as maker:
        yield maker


@pytest.fixture
def rig(cluster: Cluster, libvirtd: str, tmp_path: Path) -> Iterator[Rig]:
    with running(tmp_path / HOST, libvirtd, bus=cluster.url, host=HOST) as found:
        yield found


class Tier:
    """An API tier: what it is not sure of it sends again under the same id, and some at any rate.

    Attaches and detaches go on, guest beside guest, until ``enough`` is set; volumes of the pool
    are made and deleted beside them.
    """

    def __init__(self, rig: Rig, heard: list[Json]) -> None:
        self.rig = rig
        self.heard = heard
        self.enough = threading.Event()
        self.sent: dict[str, str] = {}

    def detached(self) -> set[str]:
        """Return the detaches that were heard to end."""
        wanted = "instance.volume_detach.end"
        return {each["operation_id"] for each in list(self.heard) if each["event"] == wanted}

    def cast(self, method: str, **arguments: Any) -> str:  # noqa: ANN401
        operation = new_uuid()
        for _ in range(2 if len(self.sent) % 5 == 0 else 1):
            insist(lambda: self.rig.cast(method, operation_id=operation, **arguments))
        self.sent[operation] = method
        return operation

    def attach_and_detach(self, instance: str, volume: str) -> None:
        same = {"instance_uuid": instance, "volume_id": volume}
        while not self.enough.is_set():
            row = new_uuid()
            insist(lambda: self.rig.call("reserve_block_device_name", bdm_uuid=row, **same))  # noqa: B023
            self.cast("attach_volume", instance_uuid=instance, bdm_uuid=row)
            detach = self.cast("detach_volume", bdm_uuid=row, **same)
            assert eventually(lambda: detach in self.detached(), PATIENCE)  # noqa: B023

    def make_and_delete(self) -> None:
        while not self.enough.wait(PACE):
            volume = new_uuid()
            self.cast("create_volume", volume_id=volume, size=1 << 20)
            self.cast("delete_volume", volume_id=volume)

    def flows_on(self) -> None:
        """Wait until more was carried out and told."""
        before = len(self.detached())
        assert eventually(lambda: len(self.detached()) >= before + FLOWING, PATIENCE)

    @contextlib.contextmanager
    def streaming(self, pairs: list[tuple[str, str]]) -> Iterator[None]:
        """Have all flow; what broke in it is raised at the end."""
        with ThreadPoolExecutor(len(pairs) + 1) as threads:
            flows = [threads.submit(self.attach_and_detach, *pair) for pair in pairs]
            flows.append(threads.submit(self.make_and_delete))
            try:
                yield
            finally:
                self.enough.set()
            for flow in flows:
                flow.result()


def kill_leader(cluster: Cluster, queue: str) -> RabbitMQ:
    assert eventually(lambda: cluster.replicas_of(queue) == len(cluster.nodes), PATIENCE)
    leader = cluster.leader_of(queue)
    # What is sent to it in its last moment goes nowhere.
    leader.freeze()
    time.sleep(LAST_MOMENT)
    leader.kill()
    return leader


def test_a_leader_that_is_killed_loses_nothing_and_doubles_nothing(
    cluster: Cluster, settings: BusSettings, rig: Rig, make_guest: GuestMaker, tmp_path: Path
) -> None:
    pairs = [(make_guest(booted=False).uuid, rig.volume()) for _ in range(GUESTS)]
    for instance, _volume in pairs:
        rig.call("adopt_instance", domain=instance)
    before = {row["id"] for row in select_all(tmp_path, OPERATIONS)}
    with listening(settings) as heard:
        tier = Tier(rig, heard)
        with tier.streaming(pairs):
            tier.flows_on()
            first = kill_leader(cluster, settings.operations_queue)
            tier.flows_on()
            first.start()
            # Two are left of three now only because the first is whole again.
            kill_leader(cluster, settings.operations_queue)
            tier.flows_on()
        assert eventually(lambda: unfinished(tmp_path) == [], PATIENCE)
        told = {row["message_id"]: row["sequence"] for row in select_all(tmp_path, UPDATES)}
        assert eventually(
            lambda: {each["message_id"] for each in list(heard)} == set(told), PATIENCE
        )
    check_journal(tier, before, tmp_path)
    check_updates(tier, told)
    assert dead_letters(settings) == []


def select_all(folder: Path, table: Table) -> list[RowMapping]:
    """Return what the worker's own database holds."""
    engine = make_engine(f"sqlite:///{folder / HOST / 'blockworker.sqlite'}")
    try:
        with engine.connect() as connection:
            return list(connection.execute(select(table)).mappings())
    finally:
        engine.dispose()


def unfinished(folder: Path) -> list[str]:
    return [row["id"] for row in select_all(folder, OPERATIONS) if row["ended_at"] is None]


def check_journal(tier: Tier, before: set[str], folder: Path) -> None:
    """What was sent is there once, was carried out once, and nothing else is."""
    rows = [row for row in select_all(folder, OPERATIONS) if not row["own"]]
    kept = {row["id"]: row["method"] for row in rows if row["id"] not in before}
    assert kept == tier.sent
    assert {(row["state"], row["attempts"]) for row in rows} == {("succeeded", 0)}


def check_updates(tier: Tier, told: dict[str, int]) -> None:
    """Each came, in order; copies are known by their id, and an operation has one end."""
    numbers, events = defaultdict(list), defaultdict(list)
    for each in without_copies(tier.heard):
        assert each["sequence"] == told[each["message_id"]]
        numbers[each["instance_uuid"]].append(each["sequence"])
        events[each["operation_id"]].append(each["event"])
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())
    for operation, method in tier.sent.items():
        phases = METHODS[method].phases
        if phases is not None:
            assert events[operation] == [phases.start, phases.end]
