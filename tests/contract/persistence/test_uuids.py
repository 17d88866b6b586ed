import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import pytest
from sqlalchemy import Connection as SqlConnection
from sqlalchemy import delete, update

from tests.contract.persistence.old_rows import a_removed_row, an_old_row, uuids, write
from tests.contract.persistence.scenes import (
    HOST,
    START,
    SteppedClock,
    a_device,
    an_instance,
    insert,
    reserved,
)
from tests.contract.persistence.uuid_racers import FILLERS, READERS
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.ids import InstanceId, VolumeId, is_uuid, new_uuid
from worker.persistence.database import Database
from worker.persistence.purge import purge
from worker.persistence.records.block_devices import SqlBlockDevices
from worker.persistence.records.uuids import AT_ONCE, Populated, populate
from worker.persistence.repositories import Repositories
from worker.persistence.schema import BLOCK_DEVICES
from worker.ports import BlockDevices

ROOT = Path(__file__).parents[3]
LATER = START + timedelta(days=1)
ResultT = TypeVar("ResultT")
Row = dict[str, Any]

WAYS: dict[str, Callable[[SqlBlockDevices, Row], BlockDevice | None]] = {
    "of_instance": lambda devices, row: devices.of_instance(row["instance_uuid"])[0],
    "bearing": lambda devices, row: devices.bearing(row["instance_uuid"], alias_of(row)),
    "holding": lambda devices, row: devices.holding(row["attachment_id"]),
    "reserved_before": lambda devices, _: devices.reserved_before(LATER)[0],
    "missing": lambda devices, _: devices.missing()[0],
}
STATUS = {"missing": "missing"}
"""That of rows which a way looks for, where it is not a reservation's."""
OF_A_UUID = {"get", "look"}
"""Ways to a row that lead to none without a uuid."""

OF_A_STATUS = {"missing"}
"""Ways that lead to rows of one status alone."""

OF_WHAT_IS_CONNECTED = {"called", "connected"}
"""Ways that lead to rows alone which this host has connected."""


def alias_of(row: Row) -> str:
    return f"ua-{row['volume_id']}"


def fill(database: Database, at_most: int | None = None) -> Populated:
    return populate(database, at_most=at_most, tell=lambda _done, _found: None)


@pytest.fixture
def devices(repositories: Repositories) -> SqlBlockDevices:
    return repositories.for_call().devices


@pytest.fixture
def instance(repositories: Repositories) -> InstanceId:
    """One of this host, whose reservations are ours to read."""
    found = an_instance()
    repositories.for_call().instances.insert(found)
    return found.uuid


def test_every_way_to_a_row_is_tried_here() -> None:
    returns = {
        name: get_type_hints(method).get("return")
        for name, method in vars(BlockDevices).items()
        if callable(method)
    }
    reading = {name for name, kind in returns.items() if "BlockDevice" in str(kind)}
    assert reading - {"move"} == WAYS.keys() | OF_A_UUID | OF_A_STATUS | OF_WHAT_IS_CONNECTED


@pytest.mark.parametrize("way", WAYS)
def test_whoever_reads_a_row_gives_it_its_marks(
    database: Database, repositories: Repositories, instance: InstanceId, way: str
) -> None:
    row = an_old_row(instance_uuid=instance, status=STATUS.get(way, "reserved"))
    write(database.engine, row)
    found = WAYS[way](repositories.for_call().devices, row)
    assert found is not None
    assert is_uuid(found.uuid)
    assert (found.alias, found.serial) == (alias_of(row), row["volume_id"])
    assert (found.address, found.updated_at) == (None, START)
    assert uuids(database.engine) == {found.device_name: found.uuid}
    for again in WAYS.keys() - ({"reserved_before"} if way in STATUS else STATUS.keys()):
        assert WAYS[again](repositories.for_call().devices, row) == found
    assert repositories.for_call().devices.get(found.uuid) == found


def test_whoever_reads_a_missing_row_gives_it_its_marks(
    database: Database, devices: SqlBlockDevices, instance: InstanceId
) -> None:
    row = an_old_row(instance_uuid=instance, status="missing")
    write(database.engine, row)
    (found,) = devices.missing()
    assert (is_uuid(found.uuid), found.alias) == (True, alias_of(row))
    assert uuids(database.engine) == {found.device_name: found.uuid}


@pytest.mark.parametrize("way", ["bearing", "holding"])
def test_a_removed_row_gets_its_marks_too(
    database: Database, devices: SqlBlockDevices, way: str
) -> None:
    row = a_removed_row()
    write(database.engine, row)
    found = WAYS[way](devices, row)
    assert found is not None
    assert (found.deleted, found.alias) == (True, alias_of(row))
    assert uuids(database.engine) == {found.device_name: found.uuid}


def test_an_alias_that_no_row_has_is_not_found_among_old_rows(
    database: Database, devices: SqlBlockDevices
) -> None:
    row = an_old_row()
    write(database.engine, row)
    assert devices.bearing(row["instance_uuid"], "ua-other") is None


def test_a_local_disk_is_known_by_its_uuid(database: Database, devices: SqlBlockDevices) -> None:
    row = an_old_row(volume_id=None)
    write(database.engine, row)
    (found,) = devices.of_instance(row["instance_uuid"])
    assert (found.alias, found.serial) == (f"ua-{found.uuid}", found.uuid)


def test_a_local_disk_whose_marks_are_there_gets_back_the_uuid_that_they_are_of(
    database: Database, devices: SqlBlockDevices
) -> None:
    lost, other = new_uuid(), new_uuid()
    instance = new_uuid()
    rows = [
        an_old_row(instance_uuid=instance, volume_id=None, alias=f"ua-{lost}", serial=lost),
        # Neither another's uuid, nor what is none, nor what marks a volume.
        an_old_row(instance_uuid=instance, volume_id=None, alias=f"ua-{other}", serial=other),
        an_old_row(instance_uuid=instance, volume_id=None, alias="ua-theirs", serial="theirs"),
        an_old_row(instance_uuid=instance, alias="ua-3", serial="3"),
    ]
    taken = an_old_row(uuid=other, alias="ua-taken", serial="taken")
    write(database.engine, *rows, taken)
    found = {row.device_name: row for row in devices.of_instance(InstanceId(instance))}
    uuids_ = [found[row["device_name"]].uuid for row in rows]
    assert uuids_[0] == lost
    assert other not in uuids_
    assert all(map(is_uuid, uuids_))
    assert [found[row["device_name"]].serial for row in rows] == [row["serial"] for row in rows]


def test_a_floppy_gets_back_the_uuid_that_its_alias_is_of(
    database: Database, devices: SqlBlockDevices
) -> None:
    lost = new_uuid()
    row = an_old_row(volume_id=None, device_type="floppy", alias=f"ua-{lost}", serial=None)
    write(database.engine, row)
    (found,) = devices.of_instance(row["instance_uuid"])
    assert (found.uuid, found.serial) == (lost, None)


@pytest.mark.parametrize("kind", ["lun", "floppy"])
def test_what_shows_none_gets_no_serial(
    database: Database, devices: SqlBlockDevices, kind: str
) -> None:
    row = an_old_row(device_type=kind)
    write(database.engine, row)
    (found,) = devices.of_instance(row["instance_uuid"])
    assert (found.alias, found.serial) == (alias_of(row), None)


def test_marks_that_are_there_stay(database: Database, devices: SqlBlockDevices) -> None:
    row = an_old_row(alias="ua-mine", serial="mine")
    write(database.engine, row)
    (found,) = devices.of_instance(row["instance_uuid"])
    assert (found.alias, found.serial) == ("ua-mine", "mine")


def test_marks_of_another_live_row_are_not_given_twice(
    database: Database, devices: SqlBlockDevices
) -> None:
    row = an_old_row()
    swapped = an_old_row(
        instance_uuid=row["instance_uuid"], alias=alias_of(row), serial=row["volume_id"]
    )
    write(database.engine, row, swapped)
    first, second = devices.of_instance(row["instance_uuid"])
    assert (first.alias, first.serial) == (f"ua-{first.uuid}", first.uuid)
    assert (second.alias, second.serial) == (alias_of(row), row["volume_id"])


def test_a_row_that_lacks_its_alias_alone_gets_it(
    repositories: Repositories, database: Database
) -> None:
    device = insert(repositories, a_device())
    with database.engine.begin() as connection:
        connection.execute(update(BLOCK_DEVICES).values(alias=None))
    assert repositories.for_call().devices.bearing(device.instance, device.alias) == device
    assert repositories.for_call().devices.get(device.uuid) == device


def test_reading_goes_on_seeing_what_waits(repositories: Repositories, database: Database) -> None:
    device = insert(repositories, a_device(device_name="/dev/vdb"))
    row = an_old_row(instance_uuid=device.instance, device_name="/dev/vda")
    write(database.engine, row)
    call = repositories.for_call()
    call.devices.save(replace(device, tag="waits"))
    before = call.devices.of_instance(device.instance)
    assert [one.tag for one in before] == [None, "waits"]
    assert uuids(database.engine)[row["device_name"]] == before[0].uuid
    assert repositories.for_call().devices.get(device.uuid).tag is None
    call.unit.commit()
    after = repositories.for_call().devices.of_instance(device.instance)
    assert after[0] == before[0]
    assert after[1].tag == "waits"


def test_a_row_is_written_like_any_other_once_it_was_read(
    repositories: Repositories, database: Database
) -> None:
    row = an_old_row()
    write(database.engine, row)
    (found,) = repositories.for_call().devices.of_instance(row["instance_uuid"])
    call = repositories.for_call()
    moved = call.devices.move(found, DeviceStatus.ATTACHING)
    call.devices.save(replace(moved, tag="new"))
    call.unit.commit()
    assert call.devices.get(found.uuid).tag == "new"
    call.devices.remove(moved)
    call.unit.commit()
    assert call.devices.get(found.uuid).deleted


class Overtaken(Database):
    """Another one does something between our look and our write."""

    def __init__(self, database: Database, first: Callable[[], object]) -> None:
        super().__init__(database.engine)
        self.first = first

    def write(self, change: Callable[[SqlConnection], ResultT]) -> ResultT:
        self.first()
        return super().write(change)


def test_who_loses_reads_what_the_winner_gave(database: Database) -> None:
    rows = [an_old_row(instance_uuid="i"), an_old_row(instance_uuid="i")]
    write(database.engine, *rows)
    given: list[dict[str, str | None]] = []

    def win() -> None:
        fill(database)
        given.append(uuids(database.engine))

    late = Repositories(Overtaken(database, win), HOST, SteppedClock()).for_call().devices
    seen = {row.device_name: row.uuid for row in late.of_instance(InstanceId("i"))}
    assert seen == given[0] == uuids(database.engine)


def test_a_row_that_is_purged_meanwhile_is_not_found(database: Database) -> None:
    row = a_removed_row()
    write(database.engine, row)

    def forget() -> None:
        with database.engine.begin() as connection:
            connection.execute(delete(BLOCK_DEVICES))

    late = Repositories(Overtaken(database, forget), HOST, SteppedClock()).for_call().devices
    assert late.holding(row["attachment_id"]) is None


def test_a_removed_row_without_uuid_is_purged_like_any_other(database: Database) -> None:
    write(database.engine, a_removed_row(), an_old_row())
    assert purge(database, LATER).block_devices == 1


def test_a_reservation_finds_the_places_of_old_rows_taken(
    database: Database, repositories: Repositories
) -> None:
    row = an_old_row()
    write(database.engine, row)
    instance, volume = InstanceId(row["instance_uuid"]), VolumeId(row["volume_id"])
    device = a_device(instance=instance, volume=volume)
    with pytest.raises(Exception, match="is on instance"):
        repositories.for_call().devices.insert(device, reserved(device))


def test_populating_fills_removed_rows_too(database: Database, devices: SqlBlockDevices) -> None:
    rows = [an_old_row(), a_removed_row(), a_removed_row(volume_id=None)]
    write(database.engine, *rows)
    assert fill(database) == Populated(found=3, done=3, left=0)
    given = uuids(database.engine)
    assert len(set(given.values()) - {None}) == 3
    assert fill(database) == Populated(found=0, done=0, left=0)
    assert uuids(database.engine) == given
    held = devices.holding(rows[1]["attachment_id"])
    assert held is not None
    assert (held.uuid, held.alias) == (given[held.device_name], alias_of(rows[1]))


def test_populating_stops_at_the_number_given(database: Database) -> None:
    write(database.engine, *(an_old_row() for _ in range(5)))
    assert fill(database, 2) == Populated(found=5, done=2, left=3)
    assert fill(database, 3) == Populated(found=3, done=3, left=0)


def test_populating_that_is_stopped_goes_on_where_it_was(database: Database) -> None:
    write(database.engine, *(an_old_row() for _ in range(AT_ONCE + 7)))
    heard = []

    def stop(done: int, found: int) -> None:
        heard.append((done, found))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        populate(database, tell=stop)
    assert heard == [(AT_ONCE, AT_ONCE + 7)]
    kept = {name: uuid for name, uuid in uuids(database.engine).items() if uuid}
    assert len(kept) == AT_ONCE
    assert fill(database) == Populated(found=7, done=7, left=0)
    assert uuids(database.engine).items() > kept.items()


def test_of_many_processes_all_see_the_one_uuid_of_each_row(url: str, database: Database) -> None:
    instances = [new_uuid() for _ in range(6)]
    live = [an_old_row(instance_uuid=instance) for instance in instances for _ in range(15)]
    removed = [a_removed_row(instance_uuid=instance) for instance in instances for _ in range(5)]
    write(database.engine, *live, *removed)
    wanted = {"instances": instances, "attachments": [row["attachment_id"] for row in removed]}
    racers = subprocess.run(
        [sys.executable, "-m", "tests.contract.persistence.uuid_racers", url],
        input=json.dumps(wanted),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=100,
    )
    ends = json.loads(racers.stdout)
    given = uuids(database.engine)
    assert len({end["pid"] for end in ends}) == len(ends) == READERS + FILLERS
    assert len(set(given.values()) - {None}) == len(given) == len(live) + len(removed)
    assert [end["seen"] for end in ends if end["seen"]] == [given] * READERS
    assert [end["changed"] for end in ends if end["changed"]] == []
    # Who was first is chance: that a reader gives them too, other tests show one by one.
    assert sum(end["given"] for end in ends) <= len(given)
