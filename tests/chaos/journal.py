"""What journal and outbox must say of an operation that has ended."""

from sqlalchemy import RowMapping

from tests.chaos.stage import Stage, soon
from tests.chaos.views import select_all
from tests.processes import Json
from worker.model.method import Method
from worker.model.operation import OperationState, StepOutcome
from worker.model.update import Event
from worker.persistence.schema import OPERATIONS, STEPS, UPDATES
from worker.rpc.methods import OPERATIONS as METHODS


def differences(
    stage: Stage, operation: Json, *, attempts: int, at_least: int | None = None
) -> list[str]:
    """Return what is not as it must be.

    ``attempts`` is how often the worker died in a step, and ``at_least`` how many of these deaths
    must be counted; all, unless it is said.
    """
    found = _journal(stage, operation["operation_id"])
    least = attempts if at_least is None else at_least
    if not least <= operation["attempts"] <= attempts:
        found.append(f"attempts: {operation['attempts']}, not {least} to {attempts}")
    return found + _outbox(stage, operation)


def _journal(stage: Stage, operation: str) -> list[str]:
    rows = select_all(stage, OPERATIONS, OPERATIONS.c.id == operation)
    steps = select_all(stage, STEPS, STEPS.c.operation_id == operation)
    open_steps = [step["name"] for step in steps if step["outcome"] == StepOutcome.OPEN.value]
    found = [f"steps open at the end: {open_steps}"] if open_steps else []
    if [row["ended_at"] is not None for row in rows] != [True]:
        found.append("journal: it has not exactly one end")
    return found


def _outbox(stage: Stage, operation: Json) -> list[str]:
    updates = _updates(stage, operation["instance_uuid"])
    told = [
        update["event"]
        for update in updates
        if update["payload"]["operation_id"] == operation["operation_id"]
    ]
    wanted = _wanted(operation)
    phases = [event for event in told if event != Event.VOLUME_SWAP_PROGRESS.value]
    found = [] if phases == wanted else [f"outbox: {told}, not {wanted}"]
    numbers = sorted(update["sequence"] for update in updates)
    if numbers != list(range(1, len(numbers) + 1)):
        found.append(f"outbox: the numbers have gaps: {numbers}")
    if not soon(lambda: _is_published(stage, operation["instance_uuid"])):
        found.append("outbox: not published")
    return found + stage.bus.differences(lambda: _updates(stage, operation["instance_uuid"]))


def _updates(stage: Stage, instance: str) -> list[RowMapping]:
    """Return all that was told of it, in order."""
    found = select_all(stage, UPDATES, UPDATES.c.instance_uuid == instance)
    return sorted(found, key=lambda update: int(update["sequence"]))


def _wanted(operation: Json) -> list[str]:
    phases = METHODS[operation["method"]].phases
    if phases is None:
        return _without_phases(operation)
    if operation["started_at"] is None:
        return _refused(operation)
    ends = {
        OperationState.SUCCEEDED: phases.end,
        OperationState.FAILED: phases.error,
        OperationState.STUCK: Event.STUCK,
    }
    return [phases.start.value, ends[OperationState(operation["state"])].value]


def _refused(operation: Json) -> list[str]:
    """One that may not begin tells no start; what is released is told of the row."""
    stuck = operation["state"] == OperationState.STUCK
    return [(Event.STUCK if stuck else Event.VOLUME_ATTACH_ERROR).value]


def _without_phases(operation: Json) -> list[str]:
    if operation["method"] == Method.MIGRATE_ALIASES:
        return [Event.ALIASES_MIGRATED.value]
    if operation["method"] == Method.RELEASE_LAPSED_RESERVATION:
        return []
    mended = [Event.DRIFT_REPAIRED.value]
    ends = {
        OperationState.SUCCEEDED: mended,
        OperationState.FAILED: [],
        OperationState.STUCK: [*mended, Event.STUCK.value],
    }
    return ends[OperationState(operation["state"])]


def _is_published(stage: Stage, instance: str) -> bool:
    return all(update["published_at"] is not None for update in _updates(stage, instance))
