"""What journal, outbox and bus must say after a soak: nothing lost, nothing doubled."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from sqlalchemy import RowMapping, true

from tests.chaos.soak.driver import Sent
from tests.chaos.soak.ground import Ground
from tests.chaos.views import select_all
from worker.model.operation import OperationState, StepOutcome
from worker.model.update import Event
from worker.persistence.schema import OPERATIONS, STEPS, UPDATES

ENDS = (".end", ".error", ".stuck")
AWAY = ("hypervisor.unavailable", "connector.failed", "block_device.guest_busy")
"""What an operation may fail with while libvirtd is killed."""


def findings(ground: Ground, sent: Sequence[Sent], *, libvirtd_dies: bool) -> Iterator[str]:
    """Tell what is not as it must be of the operations that were sent."""
    journal = select_all(ground.stage, OPERATIONS, true())
    updates = sorted(select_all(ground.stage, UPDATES, true()), key=lambda row: int(row["id"]))
    yield from _ends(sent, journal, AWAY if libvirtd_dies else ())
    yield from _unfinished(ground, journal)
    yield from _updates(sent, journal, updates)
    for guest in ground.guests:
        of_guest = [row for row in updates if row["instance_uuid"] == guest.uuid]
        yield from _numbers(guest.uuid, of_guest)
        yield from ground.bus.differences(partial(list, of_guest))


def _ends(
    sent: Iterable[Sent], journal: Iterable[RowMapping], may_fail: Sequence[str]
) -> Iterator[str]:
    """Each has one end, and that which it was sent for."""
    rows = Counter(row["id"] for row in journal)
    found = {row["id"]: row for row in journal}
    for each in sent:
        if rows[each.id] != 1:
            yield f"{_named(each)}: {rows[each.id]} times in the journal"
            continue
        row, wanted = found[each.id], each.deed.act.code
        state = OperationState.SUCCEEDED if wanted is None else OperationState.FAILED
        if row["state"] == OperationState.FAILED and row["fault_code"] in may_fail:
            continue
        if (row["state"], row["fault_code"]) != (state, wanted):
            yield f"{_named(each)}: {row['state']} {row['fault_code']} {row['fault_message']}"


def _unfinished(ground: Ground, journal: Iterable[RowMapping]) -> Iterator[str]:
    for row in journal:
        if row["ended_at"] is None or row["state"] == OperationState.STUCK:
            yield f"operation {row['id']} ({row['method']}): {row['state']} {row['fault_message']}"
    for step in select_all(ground.stage, STEPS, STEPS.c.outcome == StepOutcome.OPEN.value):
        yield f"operation {step['operation_id']}: step {step['name']} is open"


def _updates(
    sent: Iterable[Sent], journal: Iterable[RowMapping], updates: Iterable[RowMapping]
) -> Iterator[str]:
    """One end each, and one start of each that began; nothing waits to be published."""
    begun = {row["id"] for row in journal if row["started_at"] is not None}
    starts = Counter(_operation(row) for row in updates if row["event"].endswith(".start"))
    ends = Counter(_operation(row) for row in updates if row["event"].endswith(ENDS))
    for each in sent:
        if ends[each.id] != 1:
            yield f"{_named(each)}: told {ends[each.id]} ends"
        if starts[each.id] != (each.id in begun):
            yield f"{_named(each)}: told {starts[each.id]} starts"
    refused = Counter(_operation(row) for row in updates if row["event"] == Event.REFUSED)
    for each in sent:
        if bool(refused[each.id]) is not each.deed.forged:
            yield f"{_named(each)}: {refused[each.id]} refusals, forged: {each.deed.forged}"
    for row in updates:
        if row["published_at"] is None:
            yield f"update {row['id']} ({row['event']}) is not published"


def _numbers(instance: str, updates: Iterable[RowMapping]) -> Iterator[str]:
    numbers = [int(row["sequence"]) for row in updates]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"instance {instance}: the numbers have gaps or repeats: {numbers}"


def _operation(update: RowMapping) -> str:
    return str(update["payload"]["operation_id"])


def _named(sent: Sent) -> str:
    return f"{sent.deed.act} {sent.id} of row {sent.arguments['bdm_uuid']}"
