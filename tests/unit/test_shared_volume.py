"""A volume that several guests of one host have is taken from the host with the last of them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit import promises, scenes
from tests.unit.runs import fault_of
from tests.unit.scenes import (
    AT_ONCE,
    DEVICE,
    INSTANCE,
    OTHER_DEVICE,
    OTHER_INSTANCE,
    OTHER_VOLUME,
    VOLUME,
    operation,
    run,
)
from worker.errors import VolumeBusy
from worker.execution import carry_out
from worker.handlers.parts import host_volume
from worker.model.ids import BlockDeviceId, InstanceId, VolumeId
from worker.model.operation import Operation, OperationState
from worker.rpc.methods import OPERATIONS
from worker.sharing import KEPT, LaneSharing, PatientSharing

GUESTS = {INSTANCE: DEVICE, OTHER_INSTANCE: OTHER_DEVICE}
A_MOMENT = 0.3
"""Seconds for which a lane is held where, without a lock, the other one would overtake it."""
LONG = 30.0


def detach(instance: InstanceId, number: int = 1) -> Operation:
    names = {"instance_uuid": instance, "bdm_uuid": GUESTS[instance], "volume_id": VOLUME}
    asked = operation("detach_volume", number=number, **names)
    return replace(asked, lane=instance, instance=instance)


@pytest.fixture
def world() -> World:
    """Both guests have the volume."""
    found = scenes.shared()
    scenes.attach(found)
    return found


@pytest.mark.parametrize("order", list(permutations(GUESTS)))
def test_the_last_guest_takes_it_from_the_host(world: World, order: tuple[InstanceId, ...]) -> None:
    first, last = order
    assert run(world, detach(first, 1)).state is OperationState.SUCCEEDED
    assert world.connected == {VOLUME}
    assert set(world.connections) == {GUESTS[last]}
    assert run(world, detach(last, 2)).state is OperationState.SUCCEEDED
    assert (world.connected, world.connections, world.harm) == (set(), {}, [])


def test_a_guest_whose_record_was_lost_keeps_it_connected(world: World) -> None:
    del world.connections[OTHER_DEVICE]
    assert run(world, detach(INSTANCE, 1)).state is OperationState.SUCCEEDED
    assert (world.connected, world.harm) == ({VOLUME}, [])
    assert run(world, detach(OTHER_INSTANCE, 2)).state is OperationState.SUCCEEDED
    assert world.connected == set()


def test_one_that_is_only_reserved_does_not_keep_it_connected() -> None:
    world = scenes.shared()
    scenes.reserve(world, multiattach=True)
    run(world, detach(OTHER_INSTANCE))
    assert world.connected == set()


def test_an_attach_that_fails_leaves_it_to_the_guest_that_has_it() -> None:
    world = scenes.shared()
    scenes.reserve(world, multiattach=True)
    world.sizes[VOLUME] = 1
    asked = operation("attach_volume", **scenes.attach_arguments())
    assert run(world, asked).state is OperationState.FAILED
    assert (world.connected, set(world.connections)) == ({VOLUME}, {OTHER_DEVICE})
    assert promises.ground_pulled(world) == []


class Meeting:
    """A watch that holds whoever makes a call of that name until another comes, for a moment."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._barrier = threading.Barrier(2)

    def __call__(self, name: str) -> AbstractContextManager[object]:
        return self._met() if name == self._name else nullcontext()

    @contextmanager
    def _met(self) -> Iterator[None]:
        self.meet()
        yield

    def meet(self) -> None:
        try:
            self._barrier.wait(A_MOMENT)
        except threading.BrokenBarrierError:
            return


def side_by_side(*calls: Callable[[], object]) -> None:
    threads = [threading.Thread(target=call, daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
        assert not thread.is_alive()


def connection(world: World, device: BlockDeviceId) -> Any:  # noqa: ANN401 - of the fake
    return world.connections[device]


class Slow(LaneSharing):
    """Lets something happen between the answer who else has the volume and what follows from it."""

    def __init__(self, asked: Callable[[], None]) -> None:
        super().__init__()
        self._asked = asked

    def still(self, devices: frozenset[BlockDeviceId]) -> frozenset[BlockDeviceId]:
        found = super().still(devices)
        self._asked()
        return found


def test_of_two_lanes_that_let_go_at_once_one_is_the_last(world: World) -> None:
    """Both would leave it to the other, did each ask before the other has let go."""
    world.guests[INSTANCE].live.clear()
    world.guests[OTHER_INSTANCE].live.clear()
    meeting = Meeting("")
    ports = replace(fakes.ports(world), sharing=Slow(meeting.meet))
    kept = connection(world, DEVICE)

    def let_go(device: BlockDeviceId) -> None:
        host_volume.disconnect(device, VOLUME, kept, ports)

    side_by_side(lambda: let_go(DEVICE), lambda: let_go(OTHER_DEVICE))
    assert world.connected == set()


def test_what_one_lane_connects_is_not_pulled_away_by_another_that_was_the_last(
    world: World,
) -> None:
    run(world, detach(INSTANCE))
    world.guests[OTHER_INSTANCE].live.clear()
    kept = connection(world, OTHER_DEVICE)
    comes = replace(world.removed[DEVICE], deleted=False)
    decided, connected = threading.Event(), threading.Event()

    def asked() -> None:
        decided.set()
        connected.wait(A_MOMENT)

    ports = replace(fakes.ports(world), sharing=Slow(asked))

    def come() -> None:
        assert decided.wait(LONG)
        host_volume.connect(comes, kept, ports)
        connected.set()

    side_by_side(lambda: host_volume.disconnect(OTHER_DEVICE, VOLUME, kept, ports), come)
    assert world.connected == {VOLUME}


def test_detaches_of_all_guests_at_once_leave_nothing(world: World) -> None:
    meeting = Meeting("connector.disconnect")
    side_by_side(
        *(
            lambda instance=instance, number=number: run(world, detach(instance, number), meeting)
            for number, instance in enumerate(GUESTS, 1)
        )
    )
    assert (world.connected, world.connections, world.attachments) == (set(), {}, {})
    assert world.harm == []


def test_one_that_let_go_counts_no_more_before_that_is_durable(world: World) -> None:
    """Its record is in the database until its lane's next commit; other lanes still read it."""
    both = frozenset({DEVICE, OTHER_DEVICE})
    world.sharing.left(DEVICE)
    assert world.sharing.still(both) == {OTHER_DEVICE}
    world.sharing.uses(DEVICE)
    assert world.sharing.still(both) == both


def test_one_that_let_go_and_connects_again_counts_again(world: World) -> None:
    """An attach that is retried does so, and a volume that is reached by another way."""
    ports, kept = fakes.ports(world), connection(world, DEVICE)
    host_volume.disconnect(DEVICE, VOLUME, kept, ports)
    host_volume.connect(world.rows[DEVICE], kept, ports)
    world.commit()
    assert run(world, detach(OTHER_INSTANCE)).state is OperationState.SUCCEEDED
    assert (world.connected, world.harm) == ({VOLUME}, [])


def test_what_is_kept_in_mind_does_not_grow() -> None:
    sharing = LaneSharing()
    rows = [BlockDeviceId(f"row-{number}") for number in range(KEPT + 1)]
    for row in rows:
        sharing.left(row)
    assert sharing.still(frozenset(rows)) == {rows[0]}


def test_volumes_are_taken_in_one_order_whatever_they_are_named_in() -> None:
    """Otherwise two lanes could each wait for what the other has."""
    sharing = LaneSharing()

    def take(*volumes: VolumeId) -> None:
        with sharing.alone(*volumes):
            pass

    waits = threading.Thread(target=take, args=(OTHER_VOLUME, VOLUME, VOLUME), daemon=True)
    with sharing.alone(VOLUME):
        waits.start()
        waits.join(A_MOMENT)
        assert waits.is_alive()
        side_by_side(lambda: take(OTHER_VOLUME))
    waits.join(LONG)
    assert not waits.is_alive()


def test_another_volume_is_not_waited_for() -> None:
    sharing = LaneSharing()
    with sharing.alone(VOLUME):
        side_by_side(lambda: sharing.alone(OTHER_VOLUME).__enter__())


def test_who_keeps_a_volume_is_waited_for_no_longer_than_one_may_take(world: World) -> None:
    """A connect that hangs holds up its own lane, and not those of all who share the volume."""
    world.guests[INSTANCE].live.clear()
    world.guests[OTHER_INSTANCE].live.clear()
    patient = PatientSharing(world.sharing, lambda: A_MOMENT)
    ports, kept = replace(fakes.ports(world), sharing=patient), connection(world, DEVICE)
    with world.sharing.alone(VOLUME), pytest.raises(VolumeBusy, match=VOLUME):
        host_volume.disconnect(DEVICE, VOLUME, kept, ports)
    assert (world.connected, DEVICE in world.connections) == ({VOLUME}, True)
    host_volume.disconnect(DEVICE, VOLUME, kept, ports)
    host_volume.disconnect(OTHER_DEVICE, VOLUME, kept, ports)
    world.commit()
    assert (world.connected, world.connections) == (set(), {})


def test_one_who_is_late_gets_what_nobody_keeps() -> None:
    with PatientSharing(LaneSharing(), lambda: -1.0).alone(VOLUME, OTHER_VOLUME):
        pass


def test_an_attach_that_waits_in_vain_leaves_nothing() -> None:
    world = scenes.shared()
    scenes.reserve(world, multiattach=True)
    asked = operation("attach_volume", **scenes.attach_arguments())
    kept = fakes.ports(world).operations.accept(asked)[0]
    page = fakes.page(world, kept)
    patient = PatientSharing(world.sharing, lambda: A_MOMENT)
    page = replace(page, ports=replace(page.ports, sharing=patient))
    with world.sharing.alone(VOLUME):
        carry_out(kept, OPERATIONS, page, AT_ONCE)
    ended = fakes.ports(world).operations.get(asked.id)
    assert fault_of(ended).code == VolumeBusy.code
    assert (set(world.rows), set(world.connections)) == ({OTHER_DEVICE}, {OTHER_DEVICE})
    assert {held.instance for held in world.attachments.values()} == {OTHER_INSTANCE}


def test_one_who_fails_alone_leaves_the_volume_to_others() -> None:
    sharing = LaneSharing()
    with pytest.raises(RuntimeError), sharing.alone(VOLUME):
        raise RuntimeError
    with sharing.alone(VOLUME):
        pass
