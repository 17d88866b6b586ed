"""How long an operation left an instance without a running guest, as its steps say."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from worker.model.operation import Step, StepOutcome

OFF = ("power.cut", "power.wait_off")
STARTED = ("power.start", "rescues.start")


def seconds_without_guest(steps: Sequence[Step]) -> float | None:
    """Return for how many seconds, at most, no guest ran between two; None if one ran all along.

    Counted from when a cut began, or a wait for a clean end was over, until the hypervisor said
    that the next one runs. A guest that is not started again has no such time.
    """
    spans: list[float] = []
    since: datetime | None = None
    for step in steps:
        if step.name in OFF:
            # A second cut finds the guest as the first has left it.
            since = since or _off_at(step)
        elif step.name in STARTED and step.outcome is StepOutcome.DONE and since is not None:
            spans.append((_end(step) - since).total_seconds())
            since = None
    return sum(spans) if spans else None


def _off_at(step: Step) -> datetime:
    return step.started_at if step.name == "power.cut" else _end(step)


def _end(step: Step) -> datetime:
    return step.started_at + timedelta(seconds=step.seconds or 0.0)
