"""Volumes of the pool: made and deleted by operations, never out of someone's hands."""

from dataclasses import replace
from typing import Any

import pytest

from tests import fakes
from tests.fakes.volume_service import FakePoolVolumes
from tests.fakes.world import World
from tests.unit import scenes
from tests.unit.scenes import AT_ONCE, VOLUME, Refusing, Trouble, operation, run
from worker.errors import (
    RequestMalformed,
    VolumeInUse,
    VolumeNotFound,
    VolumeTaken,
    WorkerError,
)
from worker.execution import carry_out
from worker.model.ids import InstanceId, VolumeId
from worker.model.operation import Operation, OperationState
from worker.model.volume import GIB, NewVolume, Volume, VolumeStatus
from worker.rpc.methods import OPERATIONS

SIZE = 1 << 20


def create(**arguments: Any) -> Operation:  # noqa: ANN401 - as a caller of the bus would
    given: dict[str, Any] = {"volume_id": VOLUME, "size": SIZE} | arguments
    return replace(operation("create_volume", **given), instance=None, lane=f"volume:{VOLUME}")


def delete() -> Operation:
    asked = operation("delete_volume", volume_id=VOLUME)
    return replace(asked, instance=None, lane=f"volume:{VOLUME}")


def run_on(pool: FakePoolVolumes, asked: Operation) -> Operation:
    """Run the operation on a pool of the test's own."""
    world = pool.world
    kept, _ = fakes.ports(world).operations.accept(asked)
    page = fakes.page(world, kept)
    page = replace(page, ports=replace(page.ports, pool=pool))
    carry_out(kept, OPERATIONS, page, AT_ONCE)
    return fakes.ports(world).operations.get(kept.id)


def failed(ended: Operation, error: type[WorkerError]) -> None:
    assert ended.state is OperationState.FAILED
    assert ended.fault is not None
    assert ended.fault.code == error.code


def test_a_volume_is_made_as_asked() -> None:
    world = World()

    ended = run(world, create(name="data", multiattach=True))

    assert ended.state is OperationState.SUCCEEDED
    made = world.volumes[VOLUME]
    assert (made.size, made.name, made.multiattach) == (SIZE, "data", True)
    assert made.status is VolumeStatus.AVAILABLE


def test_a_file_becomes_a_volume_in_its_place() -> None:
    world = World()

    assert run(world, create(size=None, path="/srv/a.raw")).state is OperationState.SUCCEEDED
    assert VOLUME in world.volumes


def test_work_on_the_pool_is_not_told_as_an_instances() -> None:
    world = World()

    run(world, create())

    assert world.told == []


def test_a_creation_that_broke_off_leaves_no_volume() -> None:
    world = World()

    ended = run(world, create(), Trouble(at=1, after=True))

    assert ended.state is OperationState.FAILED
    assert world == World()


class Taken(FakePoolVolumes):
    """A pool that has the volume, or the file, already, as another one."""

    def create(self, wanted: NewVolume) -> Volume:
        raise VolumeTaken(wanted.id)


def test_a_volume_that_was_there_does_not_go_with_a_request_that_failed() -> None:
    world = scenes.world()

    failed(run_on(Taken(world), create()), VolumeTaken)

    assert world == scenes.world()


def test_a_volume_that_is_there_as_asked_is_a_success_and_stays_as_it_is() -> None:
    world = scenes.world()

    assert run(world, create(size=GIB)).state is OperationState.SUCCEEDED

    assert world == scenes.world()


def test_a_volume_that_is_there_and_is_another_one_is_refused() -> None:
    world = scenes.world()

    failed(run(world, create(size=2 * GIB)), VolumeTaken)

    assert world == scenes.world()


def test_a_volume_is_deleted() -> None:
    world = scenes.world()

    assert run(world, delete()).state is OperationState.SUCCEEDED

    assert VOLUME not in world.volumes


def test_a_volume_in_error_may_be_deleted() -> None:
    world = scenes.world()
    world.volumes[VOLUME] = replace(world.volumes[VOLUME], status=VolumeStatus.ERROR)

    assert run(world, delete()).state is OperationState.SUCCEEDED


def test_a_volume_that_is_gone_is_a_success() -> None:
    assert run(World(), delete()).state is OperationState.SUCCEEDED


@pytest.mark.parametrize(
    "status",
    [
        VolumeStatus.RESERVED,
        VolumeStatus.ATTACHING,
        VolumeStatus.IN_USE,
        VolumeStatus.DETACHING,
    ],
)
def test_a_volume_that_someone_has_is_refused(status: VolumeStatus) -> None:
    world = scenes.world()
    world.volumes[VOLUME] = replace(world.volumes[VOLUME], status=status)

    ended = run(world, delete())

    failed(ended, VolumeInUse)
    assert [step.name for step in world.steps[ended.id]] == ["volumes.show"]


class TakenSince(FakePoolVolumes):
    """A pool whose volume is attached just before it is deleted."""

    def delete(self, volume: VolumeId) -> None:
        fakes.ports(self.world).attachments.create(volume, InstanceId("someone"))
        super().delete(volume)


def test_a_volume_that_someone_took_since_is_refused_not_stuck() -> None:
    world = scenes.world()

    ended = run_on(TakenSince(world), delete())

    failed(ended, VolumeInUse)
    assert not ended.past_commit_point
    assert VOLUME in world.volumes


def test_a_deletion_that_broke_off_only_goes_forward() -> None:
    world = scenes.world()

    ended = run(world, delete(), Trouble(at=1))

    assert ended.state is OperationState.SUCCEEDED
    assert ended.past_commit_point
    assert VOLUME not in world.volumes


def test_a_deletion_that_cannot_go_forward_is_stuck() -> None:
    ended = run(scenes.world(), delete(), Refusing("pool.delete"))

    assert ended.state is OperationState.STUCK


def grow(size: int) -> Operation:
    asked = operation("grow_volume", volume_id=VOLUME, size=size)
    return replace(asked, instance=None, lane=f"volume:{VOLUME}")


def test_a_volume_grows_whoever_has_it() -> None:
    world = scenes.world()
    scenes.attach(world)

    assert run(world, grow(2 * GIB)).state is OperationState.SUCCEEDED

    grown = world.volumes[VOLUME]
    assert (grown.size, grown.status) == (2 * GIB, VolumeStatus.IN_USE)


def test_a_volume_becomes_no_smaller() -> None:
    world = scenes.world()

    ended = run(world, grow(GIB // 2))

    failed(ended, RequestMalformed)
    assert not ended.past_commit_point
    assert world == scenes.world()


def test_what_is_no_volume_does_not_grow() -> None:
    failed(run(World(), grow(GIB)), VolumeNotFound)


def test_a_growth_that_broke_off_only_goes_forward() -> None:
    world = scenes.world()

    ended = run(world, grow(2 * GIB), Trouble(at=0))

    assert (ended.state, ended.past_commit_point) == (OperationState.SUCCEEDED, True)
    assert world.volumes[VOLUME].size == 2 * GIB


class Asked(FakePoolVolumes):
    """A pool that remembers what it was asked for."""

    asked: NewVolume | None = None

    def create(self, wanted: NewVolume) -> Volume:
        self.asked = wanted
        return super().create(wanted)


@pytest.mark.parametrize(
    ("said", "options"),
    [
        ({}, {}),
        ({"discard": True}, {"discard": True}),
        ({"qos_specs": {"total_iops_sec": "9"}}, {"qos_specs": {"total_iops_sec": "9"}}),
        (
            {"logical_block_size": 512, "physical_block_size": 4096},
            {"logical_block_size": 512, "physical_block_size": 4096},
        ),
    ],
)
def test_a_volume_is_treated_as_was_said(said: dict[str, Any], options: dict[str, Any]) -> None:
    pool = Asked(World())

    assert run_on(pool, create(encrypted=True, **said)).state is OperationState.SUCCEEDED

    assert pool.asked == NewVolume(id=VOLUME, size=SIZE, encrypted=True, options=options)
    assert pool.world.volumes[VOLUME].encrypted


def test_a_volume_is_the_projects_that_it_is_made_for() -> None:
    world = World()

    assert run(world, create(project_id="p-1")).state is OperationState.SUCCEEDED

    assert world.volumes[VOLUME].project_id == "p-1"


@pytest.mark.parametrize("project", ["p-2", None])
def test_a_volume_of_another_project_is_another_volume(project: str | None) -> None:
    world = scenes.world()
    world.volumes[VOLUME] = replace(world.volumes[VOLUME], project_id="p-1")

    failed(run(world, create(size=GIB, project_id=project)), VolumeTaken)
