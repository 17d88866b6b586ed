"""What nobody followed while an operation was stuck, or at work, is seen at its end."""

from tests import fakes
from tests.fakes.world import World
from tests.unit import rescue_scenes, scenes
from tests.unit.fake_worker import FakeWorker
from tests.unit.rescue_runs import instance
from tests.unit.rescue_scenes import back
from tests.unit.runs import fault_of
from tests.unit.scenes import INSTANCE, Refusing, run
from worker.model.instance import VmState
from worker.model.operation import OperationState


def work(worker: FakeWorker) -> None:
    while worker.lanes:
        worker.work(worker.lanes[0])


def stuck_unrescue() -> World:
    """The guest runs as it did; what is left of the rescue could not be deleted."""
    world = rescue_scenes.rescued()
    fault_of(run(world, back(), Refusing("local_disks.delete")), OperationState.STUCK)
    return world


def test_a_guest_that_went_off_while_its_unrescue_was_stuck_is_called_stopped() -> None:
    world = stuck_unrescue()
    worker = FakeWorker(world, guard=lambda: None)
    fakes.ports(world).power.cut(INSTANCE)
    worker.look(INSTANCE)
    work(worker)
    assert instance(world).vm_state is VmState.RESCUED
    worker.call("retry_operation", operation_id=back().id)
    work(worker)
    assert instance(world).vm_state is VmState.STOPPED
    assert world.events()[-2:] == ["instance.unrescue.end", "instance.power"]


def test_the_end_of_what_switches_no_guest_calls_for_no_look() -> None:
    world = scenes.world()
    worker = FakeWorker(world, guard=lambda: None)
    work(worker)
    world.guests[INSTANCE].vm_state = VmState.PAUSED
    arguments = {"instance_uuid": INSTANCE, "bdm_uuid": scenes.DEVICE}
    worker.dispatcher.submit_own("release_lapsed_reservation", **arguments)
    work(worker)
    assert [one.method for one in world.operations.values()] == ["release_lapsed_reservation"]
