"""What volumes left on the host is found, and what is ours is removed; all else is left alone."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests import fakes
from tests.fakes.hypervisor import FakeGuestSecrets
from tests.fakes.leftovers import FakeLeftovers
from tests.fakes.world import World
from tests.unit import residues, scenes
from tests.unit.drifts import repair
from tests.unit.residues import FOREIGN, LUN, OURS, detached, lun, plant, session
from tests.unit.scenes import DEVICE, INSTANCE, OTHER_DEVICE, operation
from worker.errors import (
    ConnectFailed,
    HypervisorUnavailable,
    InstanceNotFound,
    VolumeServiceUnavailable,
)
from worker.handlers.find_residue import FindResidue, find_residue
from worker.handlers.repair_drift import TRIES
from worker.model.drift import DriftKind
from worker.model.guest_secret import SecretUse
from worker.model.ids import BlockDeviceId, InstanceId
from worker.model.leftover import Leftover
from worker.model.operation import OperationState
from worker.model.update import Event

ELSEWHERE = InstanceId("6f9a5bd0-5d50-4f3c-9c35-1a7c61d2e0ff")
K = DriftKind

LEFT: dict[str, tuple[Callable[[], World], tuple[DriftKind, ...]]] = {
    "a session with our device": (residues.session_left, (K.SESSION_LEFT,)),
    "a session without a device": (residues.session_left_empty, (K.SESSION_LEFT,)),
    "our device in a session of others": (residues.device_left, (K.DEVICE_LEFT,)),
    "a map and its session": (residues.map_left, (K.SESSION_LEFT, K.MAP_LEFT)),
    "a mount": (residues.mount_left, (K.MOUNT_LEFT,)),
    "a secret": (residues.secret_left, (K.SECRET_LEFT,)),
}


def found(world: World, instance: InstanceId | None = None) -> list[dict[str, Any]]:
    answer = find_residue(FindResidue(instance_uuid=instance), fakes.ports(world))
    differences: list[dict[str, Any]] = answer["differences"]
    return differences


def kinds(world: World) -> tuple[str, ...]:
    return tuple(each["kind"] for each in found(world))


def test_a_host_on_which_all_is_in_use_has_no_residue() -> None:
    world = plant(scenes.world(), session("session1", LUN, lun("sdb", LUN)), FOREIGN)
    scenes.attach(world)

    answer = find_residue(FindResidue(), fakes.ports(world))

    assert answer == {"differences": [], "foreign": 1, "not_read": []}


@pytest.mark.parametrize(("make", "expected"), LEFT.values(), ids=list(LEFT))
def test_what_is_ours_is_found_and_removed(
    make: Callable[[], World], expected: tuple[DriftKind, ...]
) -> None:
    world = make()
    differences = found(world)
    assert tuple(each["kind"] for each in differences) == expected
    assert all(
        each["safe"] and each["thing"] and each["bdm_uuid"] == DEVICE for each in differences
    )

    ended = repair(world)

    assert ended.state is OperationState.SUCCEEDED, ended.fault
    assert found(world) == []
    assert world.leftovers[FOREIGN.key] == FOREIGN
    told = [update for update in world.told if update.event is Event.DRIFT_REPAIRED]
    assert [update.count for update in told] == [len(expected)]


def test_a_session_stays_for_the_devices_of_others() -> None:
    world = residues.device_left()
    repair(world)
    (left,) = (thing for thing in world.leftovers.values() if thing != FOREIGN)
    assert [part.name for part in left.parts] == ["sdc"]


def test_an_instance_that_is_no_more_has_its_residue_removed() -> None:
    world = residues.session_left()
    scenes.taken_over(world)
    assert repair(world).state is OperationState.SUCCEEDED
    assert kinds(world) == ()


def test_a_repair_that_was_cut_off_ends_though_nothing_of_the_instance_is_left() -> None:
    world = residues.session_left()
    scenes.taken_over(world)

    @contextmanager
    def die(step: str) -> Iterator[None]:
        yield
        if step == "leftovers.remove":
            raise scenes.Crash(step)

    with pytest.raises(scenes.Crash):
        repair(world, die)
    world.crash()
    assert kinds(world) == ()

    assert repair(world).state is OperationState.SUCCEEDED


def test_the_repair_of_an_instance_without_anything_here_is_refused() -> None:
    world = detached()
    scenes.taken_over(world)
    ended = repair(world)
    assert ended.fault is not None
    assert ended.fault.code == InstanceNotFound.code


def test_residue_is_asked_for_by_instance() -> None:
    world = residues.session_left()
    assert found(world, ELSEWHERE) == []
    assert len(found(world, INSTANCE)) == 1


def test_a_record_keeps_what_it_names() -> None:
    world = residues.session_left()
    way = world.removed[DEVICE].connection
    assert way is not None
    world.connections[DEVICE] = way
    assert kinds(world) == ()


def test_an_operation_at_work_keeps_what_its_row_names() -> None:
    world = residues.session_left()
    asked = operation("detach_volume", number=9, **scenes.detach_arguments())
    world.operations[asked.id] = replace(asked, block_device=DEVICE, state=OperationState.RUNNING)
    assert kinds(world) == ()


def test_what_goes_while_it_is_looked_at_was_not_left() -> None:
    world = residues.session_left()

    class Going(FakeLeftovers):
        def list(self) -> tuple[Leftover, ...]:
            there = super().list()
            world.leftovers.pop(("session", "session1"), None)
            return there

    ports = replace(fakes.ports(world), leftovers=Going(world))
    assert find_residue(FindResidue(), ports)["differences"] == []


def test_what_is_used_by_others_is_not_removed_and_says_by_whom() -> None:
    used = lun("sdb", LUN, used="sdb: process 7 (cat) has it open")
    world = plant(detached(), session("session1", OURS, used))
    (difference,) = found(world)
    assert difference["why_not"] == "it is in use: sdb: process 7 (cat) has it open"
    repair(world)
    assert ("session", "session1") in world.leftovers


def _before_removal(change: Callable[[], object]) -> Callable[[str], AbstractContextManager[None]]:
    """Return a watch that changes the world once the repair has found what there is."""
    looks: list[str] = []

    class Change(AbstractContextManager[None]):
        def __exit__(self, *_: object) -> None:
            if len(looks) == FIRST_ROUND:
                change()

    def watch(step: str) -> AbstractContextManager[None]:
        if step == "leftovers.list":
            looks.append(step)
        return Change()

    return watch


FIRST_ROUND = 2
"""A round looks twice; each removal once more."""


def test_what_another_lane_began_to_use_is_left_to_it() -> None:
    world = residues.session_left()
    row = replace(world.removed[DEVICE], uuid=OTHER_DEVICE, deleted=False, instance=ELSEWHERE)

    ended = repair(world, _before_removal(lambda: world.rows.update({OTHER_DEVICE: row})))

    assert ("session", "session1") in world.leftovers
    assert ended.state is OperationState.SUCCEEDED


def test_what_came_into_use_since_is_left_alone() -> None:
    world = residues.session_left()
    used = session("session1", OURS, lun("sdb", LUN, used="sdb: it is mounted at /mnt"))

    repair(world, _before_removal(lambda: plant(world, used)))

    assert world.leftovers[used.key] == used
    (told,) = (update for update in world.told if update.event is Event.DRIFT_REPAIRED)
    assert told.count == 0


def test_a_secret_of_an_instance_at_work_is_its_own() -> None:
    world = residues.secret_left()
    asked = operation("start_instance", number=9, instance_uuid=INSTANCE)
    world.operations[asked.id] = replace(asked, state=OperationState.RUNNING)
    assert kinds(world) == ()


def test_a_secret_of_a_live_row_is_left_too_for_qemu_has_it() -> None:
    world = scenes.world()
    scenes.attach(world)
    world.secrets[(INSTANCE, DEVICE)] = {SecretUse.ISCSI}
    assert kinds(world) == ("secret_left",)
    assert repair(world).state is OperationState.SUCCEEDED
    assert not world.secrets


@pytest.mark.parametrize(
    "owner", [(INSTANCE, BlockDeviceId("nobody")), (ELSEWHERE, DEVICE)], ids=["row", "instance"]
)
def test_a_secret_that_only_says_it_is_ours_is_foreign(
    owner: tuple[InstanceId, BlockDeviceId],
) -> None:
    world = detached()
    world.secrets[owner] = {SecretUse.CEPH}
    answer = find_residue(FindResidue(), fakes.ports(world))
    assert (answer["differences"], answer["foreign"]) == ([], 2)


def test_a_hypervisor_that_is_away_hides_its_secrets_only() -> None:
    class Away(FakeGuestSecrets):
        def list(self) -> tuple[tuple[InstanceId, BlockDeviceId], ...]:
            message = "libvirt does not answer"
            raise HypervisorUnavailable(message)

    world = residues.session_left()
    ports = replace(fakes.ports(world), guest_secrets=Away(world))
    answer = find_residue(FindResidue(), ports)
    assert len(answer["differences"]) == 1
    assert answer["not_read"] == [
        "secrets of the hypervisor: libvirt does not answer [hypervisor.unavailable]"
    ]


def test_a_volume_service_that_is_away_hides_its_exports() -> None:
    class Away(FakeLeftovers):
        def list(self) -> tuple[Leftover, ...]:
            message = "tgtd does not answer"
            raise VolumeServiceUnavailable(message)

    world = residues.secret_left()
    answer = find_residue(FindResidue(), replace(fakes.ports(world), leftovers=Away(world)))
    assert [each["kind"] for each in answer["differences"]] == ["secret_left"]
    assert len(answer["not_read"]) == 1


def test_a_lun_that_is_another_volume_by_now_is_foreign() -> None:
    world = residues.plant(detached(), session("session1", OURS, lun("sdb", LUN, wwid="naa.6b")))
    world.removed[DEVICE] = replace(world.removed[DEVICE], wwid="naa.6a")
    assert kinds(world) == ()


def test_a_removal_that_fails_is_tried_again_and_then_named() -> None:
    tried: list[str] = []

    class Refusing(AbstractContextManager[None]):
        def __init__(self, step: str) -> None:
            self.step = step

        def __enter__(self) -> None:
            if self.step == "leftovers.remove":
                tried.append(self.step)
                message = "cannot remove session1: no such program"
                raise ConnectFailed(message)

        def __exit__(self, *_: object) -> None:
            pass

    ended = repair(residues.session_left(), Refusing)

    assert ended.state is OperationState.STUCK
    assert ended.fault is not None
    assert "session_left" in ended.fault.message
    assert "no such program" in ended.fault.message
    assert len(tried) == TRIES
