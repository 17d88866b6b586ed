"""Many processes that come upon the same rows without a uuid at the same moment.

Run as ``python -m tests.contract.persistence.uuid_racers URL``, with the instances and
attachments to read as JSON on its input; prints, as JSON, what each process saw and gave.
"""

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

from tests.contract.persistence.scenes import HOST, SteppedClock
from worker.model.block_device import BlockDevice
from worker.persistence.database import Database
from worker.persistence.engine import make_engine
from worker.persistence.records.uuids import populate
from worker.persistence.repositories import Repositories

READERS, FILLERS = 7, 3
AT_ONCE = 5
"""So few that the fillers come again and again, between the readers."""


def run(url: str, wanted: dict[str, list[str]], start: float, number: int) -> dict[str, Any]:
    """Be one process: read everything, or fill everything, from the moment of the start."""
    database = Database(make_engine(url), patience=60)
    work = partial(read, wanted, number) if number < READERS else fill
    time.sleep(max(0.0, start - time.time()))
    found = work(database)
    database.close()
    return {"pid": os.getpid(), **found}


def read(wanted: dict[str, list[str]], number: int, database: Database) -> dict[str, Any]:
    """Return the uuid of each row by its device name, and each that was seen to be another."""
    devices = Repositories(database, HOST, SteppedClock()).for_call().devices
    seen: dict[str, str] = {}
    changed: list[str] = []
    for instance in turned(wanted["instances"], number):
        note(devices.of_instance(instance), seen, changed)  # type: ignore[arg-type]
    for attachment in turned(wanted["attachments"], number):
        held = devices.holding(attachment)  # type: ignore[arg-type]
        note((held,) if held else (), seen, changed)
    return {"seen": seen, "changed": changed, "given": 0}


def note(rows: Sequence[BlockDevice], seen: dict[str, str], changed: list[str]) -> None:
    uuids = {row.device_name: row.uuid for row in rows}
    changed += [name for name, uuid in uuids.items() if seen.setdefault(name, uuid) != uuid]


def turned(these: list[str], number: int) -> list[str]:
    """Begin in pairs, so that two are at the same row and others come to it filled."""
    cut = number // 2 * len(these) // READERS
    return these[cut:] + these[:cut]


def fill(database: Database) -> dict[str, Any]:
    given, left = 0, 1
    while left:
        populated = populate(database, at_most=AT_ONCE, tell=lambda _done, _found: None)
        given, left = given + populated.done, populated.left
    return {"seen": {}, "changed": [], "given": given}


def main(arguments: Sequence[str]) -> None:
    (url,) = arguments
    wanted, processes = json.load(sys.stdin), READERS + FILLERS
    work = partial(run, url, wanted, time.time() + 0.5)
    # Forked while this process has one thread: the libraries are loaded once.
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        print(json.dumps(list(pool.map(work, range(processes)))))  # noqa: T201 - its answer


if __name__ == "__main__":
    main(sys.argv[1:])
