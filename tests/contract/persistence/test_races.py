import json
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.contract.persistence.racers import THREADS, WON, race, race_for_one_place
from tests.contract.persistence.scenes import (
    a_device,
    an_instance,
    an_operation,
    count,
    released,
)
from tests.contract.persistence.scenes import (
    insert as insert_device,
)
from worker.errors import DeviceWrongState
from worker.model.block_device import DeviceStatus
from worker.model.ids import new_uuid
from worker.persistence.database import Database
from worker.persistence.repositories import Repositories
from worker.persistence.schema import BLOCK_DEVICES, UPDATES

ROOT = Path(__file__).parents[3]
PROCESSES = 3
LOSES = {
    "id": "block_device.id_taken",
    "volume": "volume.already_attached",
    "name": "block_device.name_taken",
    "address": "block_device.address_taken",
    "unit": "block_device.address_taken",
}


def expect_one_winner_each(tries: list[tuple[str, str]], racers: int) -> None:
    for key, loses in LOSES.items():
        ends = Counter(end for tried, end in tries if tried == key)
        assert ends == {WON: 1, loses: racers - 1}, key


def test_of_many_threads_one_wins_each_place(url: str, repositories: Repositories) -> None:
    instance = an_instance()
    repositories.for_call().instances.insert(instance)
    tries = race(url, instance.uuid, new_uuid(), time.time() + 0.2)
    expect_one_winner_each(tries, THREADS)
    told = [entry.payload["sequence"] for entry in repositories.outbox.waiting(100)]
    assert told == [1, 2, 3, 4, 5]


def test_of_disks_and_interfaces_one_gets_an_address(url: str, repositories: Repositories) -> None:
    """No constraint reaches over two tables."""
    for _ in range(10):
        instance = an_instance()
        repositories.for_call().instances.insert(instance)
        ends = Counter(race_for_one_place(url, instance.uuid, time.time() + 0.1))
        assert ends == {WON: 1, "block_device.address_taken": THREADS - 1}


def test_of_many_processes_one_wins_each_place(
    url: str, database: Database, repositories: Repositories
) -> None:
    instance = an_instance()
    repositories.for_call().instances.insert(instance)
    arguments = [url, instance.uuid, new_uuid(), str(time.time() + 3)]
    command = [sys.executable, "-m", "tests.contract.persistence.racers", *arguments]
    racers = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    tries = []
    for racer in racers:
        printed, _ = racer.communicate(timeout=100)
        tries += [(key, end) for key, end in json.loads(printed)]
    expect_one_winner_each(tries, THREADS * PROCESSES)
    assert count(database, BLOCK_DEVICES) == len(LOSES)
    assert count(database, UPDATES) == len(LOSES)


@pytest.mark.parametrize("_round", range(10))
def test_an_attach_and_a_release_do_not_both_win(repositories: Repositories, _round: int) -> None:
    device = insert_device(repositories, a_device())
    with ThreadPoolExecutor(2) as pool:
        attach = pool.submit(
            lambda: repositories.for_call().devices.move(device, DeviceStatus.ATTACHING)
        )
        release = pool.submit(
            lambda: repositories.for_call().devices.release(device, released(device))
        )
    failed = [one.exception() for one in (attach, release)]
    assert sum(error is None for error in failed) == 1
    assert any(isinstance(error, DeviceWrongState) for error in failed)
    assert repositories.for_call().devices.get(device.uuid).deleted == (failed[1] is None)


def test_of_many_copies_of_an_operation_one_is_new(repositories: Repositories) -> None:
    operation = an_operation()
    with ThreadPoolExecutor(12) as pool:
        ends = list(pool.map(lambda _: repositories.operations.accept(operation), range(24)))
    assert sum(new for _, new in ends) == 1
    assert len(repositories.operations.list()) == 1
