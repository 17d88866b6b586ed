"""The journal's page of one operation while it runs."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import bindparam, func, insert, select, update

from worker.model.operation import (
    WORKER_DIED,
    Fault,
    Operation,
    OperationState,
    Step,
    StepOutcome,
)
from worker.model.secret import blanked, is_sealed
from worker.model.update import Update
from worker.persistence.journal.rows import fault_values
from worker.persistence.prepared import Change, Query
from worker.persistence.schema import OPERATIONS, STEPS
from worker.persistence.unit_of_work import UnitOfWork, Write
from worker.ports import Cancelling, OperationRecord, Progress

_CHANGE = Change(update(OPERATIONS).where(OPERATIONS.c.id == bindparam("which")))
_WRITE_STEP = Change(insert(STEPS))
_OF_OPERATION = STEPS.c.operation_id == bindparam("which")
_IS_IT = (_OF_OPERATION, STEPS.c.number == bindparam("step"))
_KEPT = Query(select(STEPS.c.number).where(*_IS_IT))
_CLOSE_STEP = Change(update(STEPS).where(*_IS_IT))
_CLOSE_OPEN = Change(update(STEPS).where(_OF_OPERATION, STEPS.c.outcome == StepOutcome.OPEN.value))
_LAST_NUMBER = select(func.coalesce(func.max(STEPS.c.number), 0)).where(_OF_OPERATION)


class SqlOperationRecord(OperationRecord):
    """One row of ``operations`` and its ``steps``; used by the thread that runs it."""

    def __init__(self, unit: UnitOfWork, operation: Operation) -> None:
        self._unit = unit
        self._operation = operation
        self._changed: dict[str, Any] = {}
        self._steps = {step.number: step for step in operation.steps}
        # One that was refused may have steps all the same: those of what it gave back.
        self._never_ran = operation.started_at is None and not operation.steps
        self._last_number: int | None = None
        self._unwritten: set[int] = set()

    @property
    def operation(self) -> Operation:
        """The operation as it is now, what waits for a commit included."""
        return replace(self._operation, **self._changed, steps=tuple(self._steps.values()))

    @property
    def past_commit_point(self) -> bool:
        """Whether the operation only goes forward."""
        return bool(self._now("past_commit_point"))

    def reached(self, step: str) -> bool:
        """Tell whether a step of that name was ever begun."""
        return any(known.name == step for known in self._steps.values())

    def start(self, tell: Update | None, deadline: datetime | None = None) -> None:
        """Mark the operation as running until then; one that was begun is not told again."""
        begun = self._now("state") is OperationState.RUNNING
        if begun and deadline == self._now("deadline"):
            return
        started_at = self._now("started_at") or self._unit.clock.now()
        self._changed |= {
            "state": OperationState.RUNNING,
            "started_at": started_at,
            "deadline": deadline,
        }
        running = OperationState.RUNNING.value
        self._unit.note(self._change(state=running, started_at=started_at, deadline=deadline))
        if tell is not None and not begun:
            self._unit.tell(tell)

    def pass_commit_point(self) -> None:
        """From here the operation only goes forward; durable with the next commit."""
        self._changed["past_commit_point"] = True
        self._unit.note(self._change(past_commit_point=True))

    def say(self, percent: int) -> None:
        """Commit how far the work has come; the same again writes nothing of it."""
        if percent != self._now("progress"):
            self._changed["progress"] = percent
            self._unit.note(self._change(progress=percent))
        self._unit.commit()

    def open_step(self, name: str, *, look: bool = False) -> int:
        """Commit that a step begins, or keep a look's beginning to itself; return its number."""
        step = Step(
            number=self._next_number(),
            attempt=self._now("attempts"),
            name=name,
            started_at=self._unit.clock.now(),
        )
        if look and self._never_ran and self._unit.committed:
            self._unwritten.add(step.number)
        else:
            self._unit.commit(partial(_write_step, self._operation.id, step))
        self._steps[step.number] = step
        return step.number

    def close_step(self, number: int, seconds: float, fault: Fault | None) -> None:
        """Write down, with the next commit, how the step ended."""
        outcome = StepOutcome.DONE if fault is None else StepOutcome.FAILED
        begun = self._steps[number]
        closed = Step(
            number=number,
            attempt=begun.attempt,
            name=begun.name,
            started_at=begun.started_at,
            seconds=seconds,
            outcome=outcome,
            fault=fault,
        )
        self._steps[number] = closed
        if number in self._unwritten:
            self._unit.note(_Looked(self._operation.id, closed))
            return
        which = {"which": self._operation.id, "step": number}
        values = {"seconds": seconds, "outcome": outcome.value} | fault_values(fault)
        self._unit.note(partial(_close_step, which | values))

    def leave(self) -> None:
        """Commit what the ports have written, and how the last steps ended."""
        self._unit.commit()

    def count_attempt(self) -> int:
        """Commit that the worker died in a step, and close that step; return how often by now."""
        attempts: int = self._now("attempts") + 1
        self._unit.commit(self._change(attempts=attempts), partial(_close_open, self._operation.id))
        self._changed["attempts"] = attempts
        self._steps = {number: _closed(step) for number, step in self._steps.items()}
        return attempts

    def end(self, state: OperationState, fault: Fault | None, tell: Update | None) -> Operation:
        """Commit the operation's end, what waits and the update; return it as kept."""
        ended_at = self._unit.clock.now()
        change = self._change(
            state=state.value, ended_at=ended_at, **fault_values(fault), **self._blanked(state)
        )
        told = () if tell is None else (self._unit.telling(tell),)
        self._unit.commit(change, *told)
        self._changed |= {"state": state, "fault": fault, "ended_at": ended_at}
        return self.operation

    def _now(self, field: str) -> Any:  # noqa: ANN401 - any field's
        """Return a field of the operation as it is now: to copy all of it each time costs more."""
        return self._changed.get(field, getattr(self._operation, field))

    def _blanked(self, state: OperationState) -> dict[str, Any]:
        arguments = self._operation.arguments
        if state is OperationState.STUCK or not any(map(is_sealed, arguments.values())):
            return {}
        return {"arguments": blanked(arguments)}

    def _change(self, **values: object) -> Write:
        return partial(_change, {"which": self._operation.id} | values)

    def _next_number(self) -> int:
        """A commit whose outcome was lost may have used the number: each is given once."""
        if self._last_number is None:
            self._last_number = self._number_in_journal()
        self._last_number += 1
        return self._last_number

    def _number_in_journal(self) -> int:
        """One that never ran has no steps: its start is committed with the first of them."""
        if self._never_ran:
            return 0
        which = {"which": self._operation.id}
        return int(
            self._unit.database.glance(
                lambda connection: connection.execute(_LAST_NUMBER, which).scalar_one()
            )
        )


class SqlProgress(Progress):
    """How far the operation at hand has come; for a call there is none."""

    def __init__(
        self,
        record: SqlOperationRecord | None,
        operation: Operation | None,
        cancelling: Cancelling,
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        """``rest`` waits, and raises Stopped where the worker is not to go on."""
        self._record = record
        self._operation = operation
        self._cancelling = cancelling
        self._rest = rest

    @property
    def operation(self) -> Operation | None:
        """The operation as it was accepted; None for a call."""
        return self._operation

    @property
    def past_commit_point(self) -> bool:
        """Whether the operation only goes forward."""
        return self._record is not None and self._record.past_commit_point

    def pass_commit_point(self) -> None:
        """From here the operation only goes forward; durable with the next commit."""
        if self._record is not None:
            self._record.pass_commit_point()

    def reached(self, step: str) -> bool:
        """Tell whether a step of that name was ever begun."""
        return self._record is not None and self._record.reached(step)

    def say(self, percent: int) -> None:
        """Note, durably, how far the work has come that goes on by itself outside."""
        if self._record is not None:
            self._record.say(percent)

    def rest(self, seconds: float) -> None:
        """Wait that long, between two looks; raises OperationCancelled, Stopped."""
        if self._operation is not None:
            self._cancelling.check(self._operation)
        self._rest(seconds)


class _Looked:
    """Writes down a look that is over; played twice, it writes once."""

    def __init__(self, operation: str, step: Step) -> None:
        self._operation = operation
        self._step = step
        self._played = False

    def __call__(self, connection: SqlConnection) -> None:
        again, self._played = self._played, True
        which = {"which": self._operation, "step": self._step.number}
        if not again or _KEPT.first(connection, **which) is None:
            _write_step(self._operation, self._step, connection)


def _change(values: dict[str, Any], connection: SqlConnection) -> None:
    _CHANGE.run(connection, values)


def _write_step(operation: str, step: Step, connection: SqlConnection) -> None:
    values = {
        "operation_id": operation,
        "number": step.number,
        "attempt": step.attempt,
        "name": step.name,
        "started_at": step.started_at,
        "seconds": step.seconds,
        "outcome": step.outcome.value,
    }
    _WRITE_STEP.run(connection, values | fault_values(step.fault))


def _close_step(values: dict[str, Any], connection: SqlConnection) -> None:
    _CLOSE_STEP.run(connection, values)


def _close_open(operation: str, connection: SqlConnection) -> None:
    values = {"which": operation, "outcome": StepOutcome.FAILED.value}
    _CLOSE_OPEN.run(connection, values | fault_values(WORKER_DIED))


def _closed(step: Step) -> Step:
    if step.outcome is not StepOutcome.OPEN:
        return step
    return replace(step, outcome=StepOutcome.FAILED, fault=WORKER_DIED)
