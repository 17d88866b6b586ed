"""The pool across hosts, as it is in the journal and in the rows of every database."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from tests.contract.persistence.scenes import (
    HOST,
    START,
    SteppedClock,
    a_device,
    an_instance,
    an_operation,
)
from tests.contract.persistence.test_pool_records import a_volume
from worker.model.block_device import DeviceStatus
from worker.model.ids import OperationId, VolumeId, new_uuid
from worker.model.operation import OperationState, lane_of
from worker.model.volume import GIB, PoolVolume, VolumeStatus
from worker.persistence.database import Database
from worker.persistence.fleet.pool import FleetPool, Pooled
from worker.persistence.repositories import Repositories
from worker.persistence.schema import OPERATIONS
from worker.ports import PoolReading

ONE = VolumeId(new_uuid())


@pytest.fixture
def pool(database: Database, repositories: Repositories) -> FleetPool:
    return FleetPool(database, repositories.pool)


def ask(
    repositories: Repositories,
    method: str,
    state: OperationState = OperationState.QUEUED,
    volume: VolumeId = ONE,
    **arguments: object,
) -> OperationId:
    """Put an operation on the pool into the journal, in that state."""
    given = {"volume_id": volume} | arguments
    asked = an_operation(
        method=method, arguments=given, lane=lane_of(given), instance=None, block_device=None
    )
    repositories.operations.accept(asked)
    end(repositories, asked.id, state)
    return asked.id


def end(repositories: Repositories, operation: OperationId, state: OperationState) -> None:
    change = update(OPERATIONS).where(OPERATIONS.c.id == operation).values(state=state.value)
    repositories.operations._database.write(  # noqa: SLF001
        lambda each: each.execute(change)
    )


def found(pool: FleetPool, volume: VolumeId = ONE) -> Pooled:
    seen = pool.find(volume)
    assert seen is not None
    assert [one for one in pool.volumes() if one.volume.id == volume] == [seen]
    return seen


def absent(pool: FleetPool, volume: VolumeId = ONE) -> bool:
    assert pool.find(volume) is None
    return volume not in {one.volume.id for one in pool.volumes()}


def test_a_volume_is_there_from_its_request_on(pool: FleetPool, repositories: Repositories) -> None:
    assert absent(pool)
    operation = ask(
        repositories, "create_volume", size=2 * GIB, name="n", multiattach=True, project_id="p"
    )
    for state in (OperationState.QUEUED, OperationState.RUNNING):
        end(repositories, operation, state)
        seen = found(pool)
        assert (seen.volume.status, seen.host, seen.created_at) == (
            VolumeStatus.CREATING,
            HOST,
            START,
        )
        assert (seen.volume.size, seen.volume.name) == (2 * GIB, "n")
        assert (seen.volume.multiattach, seen.volume.project_id) == (True, "p")
    made = a_volume(id=ONE, name="n", project_id="p")
    repositories.pool.put_volume(made)
    assert found(pool).volume == made.volume
    end(repositories, operation, OperationState.SUCCEEDED)
    assert found(pool) == Pooled(volume=made.volume, host=HOST, created_at=START)
    repositories.pool.drop_volume(ONE)
    assert absent(pool)


@pytest.mark.parametrize(
    "state", [OperationState.FAILED, OperationState.STUCK, OperationState.ABANDONED]
)
def test_what_could_not_be_made_is_in_error_until_it_is_deleted(
    pool: FleetPool, repositories: Repositories, state: OperationState
) -> None:
    ask(repositories, "create_volume", state, size=GIB)
    assert found(pool).volume.status is VolumeStatus.ERROR
    deleting = ask(repositories, "delete_volume")
    ask(repositories, "delete_volume", OperationState.SUCCEEDED, volume=VolumeId(new_uuid()))
    end(repositories, deleting, OperationState.FAILED)
    assert found(pool).volume.status is VolumeStatus.ERROR
    end(repositories, deleting, OperationState.SUCCEEDED)
    assert absent(pool)
    ask(repositories, "create_volume", size=GIB)
    assert found(pool).volume.status is VolumeStatus.CREATING


def test_a_second_request_that_failed_does_not_hide_the_volume_that_there_is(
    pool: FleetPool, repositories: Repositories
) -> None:
    repositories.pool.put_volume(a_volume(id=ONE))
    ask(repositories, "create_volume", OperationState.FAILED, size=GIB)
    assert found(pool).volume.status is VolumeStatus.AVAILABLE


@pytest.mark.parametrize(
    ("method", "status"),
    [("delete_volume", VolumeStatus.DELETING), ("grow_volume", VolumeStatus.EXTENDING)],
)
def test_what_is_being_done_to_a_volume_is_its_status(
    pool: FleetPool, repositories: Repositories, method: str, status: VolumeStatus
) -> None:
    free, held = a_volume(id=ONE), a_volume(status=VolumeStatus.IN_USE)
    for volume in (free, held):
        repositories.pool.put_volume(volume)
        for state in OperationState:
            operation = ask(repositories, method, volume=volume.volume.id, size=9 * GIB)
            end(repositories, operation, state)
            ended = state not in (OperationState.QUEUED, OperationState.RUNNING)
            seen = found(pool, volume.volume.id).volume.status
            unseen = ended or (volume is held and method == "delete_volume")
            expected = volume.volume.status if unseen else status
            assert seen is expected
            end(repositories, operation, OperationState.SUCCEEDED)


@pytest.mark.parametrize("state", OperationState)
def test_one_that_grows_under_its_guest_is_extending_until_the_guest_has_seen_it(
    pool: FleetPool, repositories: Repositories, state: OperationState
) -> None:
    instance, volume = an_instance(), a_volume(status=VolumeStatus.IN_USE)
    device = a_device(instance=instance.uuid, volume=volume.volume.id, status=DeviceStatus.ATTACHED)
    repositories.for_call().instances.insert(instance, [device], ())
    repositories.pool.put_volume(volume)
    asked = an_operation(
        method="extend_volume", lane=instance.uuid, instance=instance.uuid, block_device=device.uuid
    )
    repositories.operations.accept(asked)
    end(repositories, asked.id, state)
    under_way = state in (OperationState.QUEUED, OperationState.RUNNING)
    wanted = VolumeStatus.EXTENDING if under_way else VolumeStatus.IN_USE
    assert found(pool, volume.volume.id).volume.status is wanted


def test_the_newest_comes_first_and_what_nobody_knows_the_age_of_last(
    pool: FleetPool, repositories: Repositories, clock: SteppedClock
) -> None:
    volumes = [a_volume() for _ in range(3)]
    for volume in volumes:
        repositories.pool.put_volume(volume)
        clock.at += timedelta(seconds=1)
    ask(repositories, "create_volume", size=GIB)
    assert [seen.volume.id for seen in pool.volumes()] == [
        ONE,
        *(volume.volume.id for volume in reversed(volumes)),
    ]


def test_holders_are_who_has_it_and_not_who_is_about_to(
    pool: FleetPool, repositories: Repositories
) -> None:
    instances = [an_instance() for _ in DeviceStatus]
    statuses = dict(zip(DeviceStatus, instances, strict=True))
    for status, instance in statuses.items():
        device = a_device(instance=instance.uuid, volume=ONE, status=status)
        repositories.for_call().instances.insert(instance, [device], ())
    other = an_instance()
    elsewhere = a_device(instance=other.uuid, status=DeviceStatus.ATTACHED)
    repositories.for_call().instances.insert(other, [elsewhere], ())
    having = set(DeviceStatus) - {DeviceStatus.RESERVED, DeviceStatus.ATTACHING}
    holders = pool.holders([ONE])
    assert {holder.instance for holder in holders} == {statuses[one].uuid for one in having}
    assert {(holder.volume, holder.host) for holder in holders} == {(ONE, HOST)}
    both = pool.holders([ONE, elsewhere.its_volume])
    assert other.uuid in {holder.instance for holder in both}
    assert pool.holders([]) == ()


def test_a_volume_keeps_its_age_when_it_is_changed(
    pool: FleetPool, repositories: Repositories, clock: SteppedClock
) -> None:
    volume = a_volume(id=ONE)
    repositories.pool.put_volume(volume)
    clock.at += timedelta(hours=1)
    repositories.pool.put_volume(replace(volume, owned=False))
    assert found(pool).created_at == START


def test_a_volume_that_is_made_while_it_is_looked_for_is_found(
    database: Database, repositories: Repositories
) -> None:
    operation = ask(repositories, "create_volume", OperationState.RUNNING, size=GIB)

    class MadeMeanwhile(PoolReading):
        """Its volume comes just after it was looked for."""

        def volumes(self) -> tuple[PoolVolume, ...]:
            return ()

        def volume(self, volume: VolumeId) -> PoolVolume | None:
            seen = repositories.pool.volume(volume)
            repositories.pool.put_volume(a_volume(id=ONE))
            end(repositories, operation, OperationState.SUCCEEDED)
            return seen

    assert FleetPool(database, MadeMeanwhile()).find(ONE) is not None
    assert found(FleetPool(database, repositories.pool)).volume.status is VolumeStatus.AVAILABLE
