"""Updates and operations of every host, as an API tier reads them."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import insert as sql_insert
from sqlalchemy import update

from tests.contract.persistence.scenes import (
    HOST,
    START,
    an_instance,
    an_operation,
    steps_of_sqlite,
)
from worker.model.ids import InstanceId, OperationId, new_uuid
from worker.model.instance import Instance
from worker.model.operation import Operation
from worker.model.update import Event, Update
from worker.persistence.database import Database
from worker.persistence.engine import make_engine
from worker.persistence.fleet import (
    Fleet,
    FleetUpdate,
    FleetUpdates,
    Key,
    Mark,
    WantedOperations,
)
from worker.persistence.fleet import updates as module
from worker.persistence.repositories import Repositories
from worker.persistence.schema import INSTANCES, UPDATES

MINE, THEIRS = "project-1", "project-2"


@pytest.fixture
def table(database: Database, monkeypatch: pytest.MonkeyPatch) -> FleetUpdates:
    # So that a few updates are several pages.
    monkeypatch.setattr(module, "PAGE", 2)
    return FleetUpdates(database)


def kept(repositories: Repositories, **fields: object) -> Instance:
    instance = an_instance(**fields)
    calls = repositories.for_call()
    calls.instances.insert(instance)
    calls.unit.commit()
    return instance


def row(database: Database, number: int, sequence: int, at: datetime, instance: str) -> None:
    """Write an update with that id."""
    values = update_values(number, sequence, at, instance)
    database.write(lambda each: each.execute(sql_insert(UPDATES).values(**values)))


def update_values(number: int, sequence: int, at: datetime, instance: str) -> dict[str, object]:
    return {
        "id": number,
        "message_id": new_uuid(),
        "host": HOST,
        "instance_uuid": instance,
        "sequence": sequence,
        "event": Event.POWER.value,
        "payload": {"sequence": sequence},
        "created_at": at,
    }


def shown(found: list[FleetUpdate]) -> list[tuple[str, int]]:
    return [(each.key.instance, each.sequence) for each in found]


class TestUpdates:
    def test_all_from_a_mark_on_a_page_at_a_time(
        self, database: Database, table: FleetUpdates
    ) -> None:
        assert table.newest() == Mark(id=0, at=None)
        assert list(table.since(table.newest())) == []
        one = new_uuid()
        for number in range(1, 6):
            row(database, 100 + number, number, START + timedelta(hours=number), one)
        mark = table.mark_of(Key(HOST, one), 3)
        assert mark == Mark(id=103, at=START + timedelta(hours=3))
        assert mark is not None
        assert shown(list(table.since(mark))) == [(one, 3), (one, 4), (one, 5)]
        assert shown(list(table.since(None))) == [(one, each) for each in range(1, 6)]
        assert table.numbers(mark) == {Key(HOST, one): 5}
        assert table.mark_of(Key(HOST, one), 6) is None

    def test_one_that_was_committed_late_below_the_mark_is_not_missed(
        self, database: Database, table: FleetUpdates
    ) -> None:
        early, late = new_uuid(), new_uuid()
        row(database, 20, 1, START, early)
        mark = table.newest()
        row(database, 19, 1, START - timedelta(seconds=1), late)
        row(database, 18, 7, START - timedelta(hours=1), new_uuid())
        assert (late, 1) in shown(list(table.since(mark)))
        assert len(list(table.since(mark))) == 2

    @pytest.mark.parametrize("kept", ["sqlite"], indirect=True)
    def test_what_is_new_is_found_without_going_through_all_that_was_told(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is looked for each second while the broker is away."""
        monkeypatch.setattr(module, "MOST_BEHIND", 2)
        database, one = Database(make_engine(url)), new_uuid()
        values = [update_values(number, number, START, one) for number in range(1, 2001)]
        database.write(lambda each: each.execute(sql_insert(UPDATES), values))
        steps = steps_of_sqlite(database)
        table = FleetUpdates(database)
        assert shown(list(table.since(table.newest()))) == [(one, 1999), (one, 2000)]
        database.close()
        assert 100 * len(steps) < 2000

    def test_of_one_instance_and_of_one_project(
        self, database: Database, repositories: Repositories, table: FleetUpdates
    ) -> None:
        mine, theirs = kept(repositories, project_id=MINE), kept(repositories, project_id=THEIRS)
        for number, each in enumerate((mine, theirs, mine), start=1):
            row(database, number, number, START, each.uuid)
        row(database, 4, 1, START, "")
        assert shown(list(table.since(None, project=MINE))) == [(mine.uuid, 1), (mine.uuid, 3)]
        assert shown(list(table.since(None, instance=theirs.uuid))) == [(theirs.uuid, 2)]
        gone = update(INSTANCES).where(INSTANCES.c.uuid == mine.uuid).values(deleted=1)
        database.write(lambda each: each.execute(gone))
        assert shown(list(table.since(None, project=MINE))) == [(mine.uuid, 1), (mine.uuid, 3)]

    def test_in_the_order_of_their_numbers(self, database: Database, table: FleetUpdates) -> None:
        one = new_uuid()
        for number in range(1, 6):
            row(database, number, number, START, one)
        found = list(table.of(Key(HOST, one), after=2))
        assert [each.sequence for each in found] == [3, 4, 5]
        assert found[0].payload == {"sequence": 3}
        assert list(table.of(Key("host-2", one), after=0)) == []

    def test_what_was_told_long_before_has_lower_numbers(
        self, database: Database, table: FleetUpdates
    ) -> None:
        one, two = new_uuid(), new_uuid()
        for number, days in enumerate((0, 1, 4, 3, 5), start=1):
            row(database, number, number, START + timedelta(days=days), one)
        row(database, 6, 9, START, two)
        assert table.last_before(Key(HOST, one), START) == 0
        # The clock was set back between its third and its fourth.
        asked = [START + timedelta(days=days) for days in (3, 4, 7)]
        assert [table.last_before(Key(HOST, one), at) for at in asked] == [2, 2, 5]

    def test_what_a_worker_tells_is_read_as_it_is_told(
        self, repositories: Repositories, table: FleetUpdates
    ) -> None:
        instance = kept(repositories)
        calls = repositories.for_call()
        calls.updates.tell(Update(event=Event.POWER, instance=instance.uuid))
        calls.unit.commit()
        (found,) = table.of(Key(HOST, instance.uuid), after=0)
        (entry,) = repositories.outbox.waiting(1)
        assert (found.event, found.payload) == (entry.event.value, entry.payload)


class TestOperations:
    def test_of_a_project_whose_instance_it_is_now(
        self, database: Database, repositories: Repositories
    ) -> None:
        fleet = Fleet(database)
        mine, theirs = kept(repositories, project_id=MINE), kept(repositories, project_id=THEIRS)
        ours = [asked(repositories, mine.uuid) for _ in range(3)]
        other, without = asked(repositories, theirs.uuid), asked(repositories, None)
        assert listed(fleet, project=MINE) == ours[::-1]
        assert listed(fleet, project=MINE, limit=2) == ours[:0:-1]
        assert listed(fleet, project=MINE, after=ours[1]) == ours[:1]
        assert listed(fleet, project=None) == [without, other, *ours[::-1]]
        assert listed(fleet, project=MINE, instance=theirs.uuid) == []
        assert listed(fleet, project=MINE, state="running") == []

        def is_gone(connection: object) -> None:
            row = update(INSTANCES).where(INSTANCES.c.uuid == mine.uuid)
            connection.execute(row.values(deleted=INSTANCES.c.id))  # type: ignore[attr-defined]

        database.write(is_gone)
        assert listed(fleet, project=MINE) == ours[::-1]
        kept(repositories, uuid=mine.uuid, project_id=THEIRS)
        assert listed(fleet, project=MINE) == []


def asked(repositories: Repositories, instance: InstanceId | None) -> OperationId:
    wanted: Operation = an_operation(instance=instance)
    operation, _ = repositories.operations.accept(wanted)
    return operation.id


def listed(fleet: Fleet, *, limit: int = 10, **wanted: object) -> list[OperationId]:
    found = fleet.listed(WantedOperations(limit=limit, **wanted))  # type: ignore[arg-type]
    return [told.operation.id for told in found]
