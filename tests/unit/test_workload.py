"""What is not done yet, as counts."""

from worker.model.workload import Workload


def test_a_stuck_operation_waits_for_an_operator_and_is_not_unfinished() -> None:
    assert Workload(queued=2, running=3, stuck=7, updates=11).unfinished == 5
