"""Instances and their builds, as an API tier finds them on every host."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert as sql_insert

from tests.contract.persistence.scenes import (
    HOST,
    SteppedClock,
    a_device,
    an_instance,
    an_operation,
    insert,
)
from worker.model.ids import InstanceId, new_uuid
from worker.model.instance import TaskState, VmState
from worker.model.operation import Fault, Operation, OperationState
from worker.persistence.database import Database
from worker.persistence.fleet import Doing, Fleet, Wanted
from worker.persistence.repositories import Repositories
from worker.persistence.schema import LEASES


@pytest.fixture
def fleet(database: Database) -> Fleet:
    return Fleet(database)


@pytest.fixture
def leased(database: Database, clock: SteppedClock) -> None:
    """A host is known to the fleet from its first lease on."""
    lease = {"host": HOST, "owner": "o", "state_folder": new_uuid()}
    values = lease | {"expires_at": clock.now() + timedelta(seconds=30)}
    database.write(lambda each: each.execute(sql_insert(LEASES).values(**values)))


def accepted(
    repositories: Repositories,
    instance: InstanceId,
    method: str = "build_instance",
) -> Operation:
    arguments = {"instance_uuid": instance, "name": f"name-{instance[:8]}"}
    wanted = an_operation(method=method, instance=instance, arguments=arguments, lane=instance)
    operation, _ = repositories.operations.accept(wanted)
    return operation


def ended(repositories: Repositories, operation: Operation, state: OperationState) -> None:
    record = repositories.for_operation(operation).record
    assert record is not None
    record.start(None)
    record.open_step("a.b")
    record.end(state, Fault(code="c", message="m"), None)


def fresh() -> InstanceId:
    return InstanceId(new_uuid())


def names(fleet: Fleet, **wanted: Any) -> set[str]:  # noqa: ANN401 - of any field
    found = fleet.servers(Wanted(project=None, limit=100, **wanted))
    return {server.instance.name for server in found}


def having(repositories: Repositories, *instances: dict[str, Any]) -> None:
    for fields in instances:
        repositories.for_call().instances.insert(an_instance(**fields))


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"name": "b"}, {"ab", "abc", "bc"}),
        ({"name": "b", "begins": True}, {"bc"}),
        ({"name": "b", "ends": True}, {"ab"}),
        ({"name": "abc", "begins": True, "ends": True}, {"abc"}),
        ({"name": "%"}, {"100%"}),
        ({"name": "_"}, set()),
    ],
)
def test_servers_are_found_by_parts_of_their_names(
    repositories: Repositories, fleet: Fleet, wanted: dict[str, Any], found: set[str]
) -> None:
    having(repositories, *({"name": name} for name in ("ab", "abc", "bc", "100%")))
    assert names(fleet, **wanted) == found


@pytest.mark.parametrize(
    ("doing", "found"),
    [
        ([], {"runs", "restarts", "off"}),
        ([Doing(state="active")], {"runs", "restarts"}),
        ([Doing(state="active", tasks=["rebooting"])], {"restarts"}),
        ([Doing(state="active", other_tasks=["rebooting"])], {"runs"}),
        ([Doing(state="stopped"), Doing(state="active", tasks=["rebooting"])], {"off", "restarts"}),
    ],
)
def test_servers_are_found_by_what_they_are_at(
    repositories: Repositories, fleet: Fleet, doing: Sequence[Doing], found: set[str]
) -> None:
    having(
        repositories,
        {"name": "runs"},
        {"name": "restarts", "task_state": TaskState.REBOOTING},
        {"name": "off", "vm_state": VmState.STOPPED},
    )
    assert names(fleet, doing=doing) == found


def test_devices_of_many_are_read_at_once(repositories: Repositories, fleet: Fleet) -> None:
    first, second = insert(repositories, a_device()), insert(repositories, a_device())
    empty = fresh()
    found = fleet.devices_of([first.instance, second.instance, empty])
    assert [row.uuid for row in found[first.instance]] == [first.uuid]
    assert [row.uuid for row in found[second.instance]] == [second.uuid]
    assert found[empty] == ()


@pytest.mark.usefixtures("leased")
def test_builds_without_a_row_are_found_newest_first(
    repositories: Repositories, fleet: Fleet
) -> None:
    older, newer, begun = fresh(), fresh(), fresh()
    for instance in (older, newer, begun):
        accepted(repositories, instance)
    repositories.for_call().instances.insert(an_instance(uuid=begun))
    ended(repositories, accepted(repositories, fresh()), OperationState.FAILED)
    accepted(repositories, fresh(), "start_instance")
    assert [told.operation.instance for told in fleet.builds()] == [newer, older]


def test_a_build_is_known_by_its_instance(repositories: Repositories, fleet: Fleet) -> None:
    instance = fresh()
    assert fleet.build_of(instance) is None
    operation = accepted(repositories, instance)
    told = fleet.build_of(instance)
    assert told is not None
    assert (told.host, told.operation.id) == (HOST, operation.id)


def test_a_build_that_failed_is_known_until_a_destroy(
    repositories: Repositories, fleet: Fleet
) -> None:
    instance = fresh()
    ended(repositories, accepted(repositories, instance), OperationState.FAILED)
    told = fleet.build_of(instance)
    assert told is not None
    assert told.operation.fault == Fault(code="c", message="m")
    accepted(repositories, instance, "destroy_instance")
    assert fleet.build_of(instance) is None


def test_a_build_that_has_not_ended_is_known_past_a_destroy(
    repositories: Repositories, fleet: Fleet
) -> None:
    instance = fresh()
    accepted(repositories, instance)
    accepted(repositories, instance, "destroy_instance")
    assert fleet.build_of(instance) is not None


def test_a_build_that_succeeded_is_its_rows_matter(
    repositories: Repositories, fleet: Fleet
) -> None:
    instance = fresh()
    ended(repositories, accepted(repositories, instance), OperationState.SUCCEEDED)
    assert fleet.build_of(instance) is None


@pytest.mark.usefixtures("leased")
def test_a_name_is_taken_by_rows_and_builds_of_the_host(
    repositories: Repositories, fleet: Fleet
) -> None:
    coming = fresh()
    accepted(repositories, coming)
    having(repositories, {"name": "there"})
    assert fleet.has_name(HOST, "there")
    assert fleet.has_name(HOST, f"name-{coming[:8]}")
    assert not fleet.has_name(HOST, "other")
    assert not fleet.has_name("host-2", "there")
