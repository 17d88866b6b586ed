"""A detach that is run again once its guest has let go."""

from tests import fakes
from tests.unit import power_scenes
from tests.unit.power_scenes import DATA, DATA_VOLUME
from tests.unit.rescue_runs import carry_out, steps
from tests.unit.runs import fault_of
from tests.unit.scenes import INSTANCE, Refusing, operation, run
from worker.model.operation import OperationState

DETACH = operation("detach_volume", instance_uuid=INSTANCE, volume_id=DATA_VOLUME, bdm_uuid=DATA)


def test_it_does_not_mark_a_volume_that_may_be_anothers_by_now() -> None:
    world = power_scenes.off()
    fault_of(run(world, DETACH, Refusing("attachments.delete")), OperationState.STUCK)
    fakes.ports(world).stuck.reopen(DETACH.id)
    assert steps(world, carry_out(world, DETACH)).count("volumes.begin_detaching") == 1
