"""The journal and the outbox: what was asked, how far it came, what is told."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from datetime import datetime

from worker.errors import OperationCancelled
from worker.model.ids import DeviceId, InstanceId, OperationId
from worker.model.operation import Fault, Operation, OperationState
from worker.model.secret import Secret
from worker.model.update import OutboxEntry, Update


class Updates(ABC):
    """What is told to the bus."""

    @abstractmethod
    def tell(self, update: Update) -> None:
        """Write the update to the outbox, with the next durable change."""


class Progress(ABC):
    """How far the operation at hand has come."""

    @property
    @abstractmethod
    def operation(self) -> Operation | None:
        """The operation as it was accepted; None for a call."""

    @property
    @abstractmethod
    def past_commit_point(self) -> bool:
        """Whether the operation only goes forward."""

    @abstractmethod
    def pass_commit_point(self) -> None:
        """From here the operation only goes forward; durable with the next outside call."""

    @abstractmethod
    def reached(self, step: str) -> bool:
        """Tell whether a step of that name (``disks.attach``) was ever begun.

        Asked before its first step, a run learns what an earlier one, that was cut off, may have
        done.
        """

    @abstractmethod
    def say(self, percent: int) -> None:
        """Note, durably, how far the work has come that goes on by itself outside."""

    @abstractmethod
    def rest(self, seconds: float) -> None:
        """Wait that long for such work, between two looks at it.

        Raises OperationCancelled if a caller has asked for the operation's end; Stopped, which is
        no error, if the worker stops: the next one goes on with what has gone on meanwhile.
        """


class Operations(ABC):
    """The journal: what was asked of this host and what became of it."""

    @abstractmethod
    def accept(self, operation: Operation) -> tuple[Operation, bool]:
        """Keep the operation, at once; return it as kept, and whether it is new.

        One that was accepted before changes nothing and comes back as it is now; with other
        arguments it raises OperationConflict.
        """

    @abstractmethod
    def accept_new(self, operations: Sequence[Operation]) -> tuple[Operation, ...]:
        """Keep several operations, at once, in their order; return them as kept.

        Raises OperationConflict, and keeps none, unless all are new.
        """

    @abstractmethod
    def get(self, operation: OperationId) -> Operation:
        """Return the operation with its steps; raises OperationNotFound."""

    @abstractmethod
    def list(
        self,
        *,
        instance: InstanceId | None = None,
        states: Sequence[OperationState] = (),
        limit: int | None = None,
    ) -> tuple[Operation, ...]:
        """Return operations without their steps, newest first."""

    @abstractmethod
    def unfinished(self) -> tuple[Operation, ...]:
        """Return what is queued or running, in the order it was accepted."""

    @abstractmethod
    def last_for(self, device: DeviceId, method: str | None = None) -> Operation | None:
        """Return the newest operation, or the newest of that method, that names the row."""

    @abstractmethod
    def mark_late(self, operation: OperationId) -> None:
        """Note, at once, that an operation runs past its deadline; one that has ended stays."""


class Cancelling(ABC):
    """What a caller wants no more."""

    @abstractmethod
    def ask(self, operation: OperationId, methods: Collection[str]) -> Operation:
        """Note, at once, that its end is asked for; return it as kept.

        Of one that has begun only if it is of these methods and may still go back. Raises
        OperationNotFound, OperationWrongState.
        """

    @abstractmethod
    def asked(self, operation: OperationId) -> bool:
        """Tell whether its end was asked for, of this worker."""

    def check(self, operation: Operation) -> None:
        """Raise OperationCancelled if its end was asked for, of this worker or one before."""
        if operation.cancel_requested or self.asked(operation.id):
            message = f"operation {operation.id} ({operation.method}) was cancelled"
            raise OperationCancelled(message)


class StuckOperations(ABC):
    """What an operator decides of an operation that is stuck; done when they return.

    What the other ports of the request have written is committed with it, or not at all. Each
    raises OperationNotFound, and OperationWrongState unless the operation is stuck.
    """

    @abstractmethod
    def reopen(self, operation: OperationId) -> Operation:
        """Leave it to be run again from where it stands; return it as kept, with its steps.

        The commit point and the steps stay, no attempt is counted, the fault is forgotten. One
        that had begun is running, for it must neither expire nor be told as begun again.
        """

    @abstractmethod
    def abandon(self, operation: OperationId, tell: Update | None) -> Operation:
        """Give it its end, ``abandoned``, and tell it; its fault stays. Return it as kept."""


class OperationRecord(ABC):
    """The journal's page of one operation while it runs.

    What its ports have written is committed by ``open_step``, ``leave`` and ``end``.
    """

    @abstractmethod
    def start(self, tell: Update | None, deadline: datetime | None = None) -> None:
        """Mark the operation as running until that time, and tell it unless it was begun before."""

    @abstractmethod
    def open_step(self, name: str, *, look: bool = False) -> int:
        """Write down, durably, that a step begins; return its number.

        That of a mere look may wait for its end, once the operation's start is durable and
        unless an earlier run of it was cut off: a look that kills the worker is to be counted.
        """

    @abstractmethod
    def close_step(self, number: int, seconds: float, fault: Fault | None) -> None:
        """Write down, with the next commit, how the step ended."""

    @abstractmethod
    def count_attempt(self) -> int:
        """Note, durably, that the worker died in a step; return how often by now."""

    @abstractmethod
    def leave(self) -> None:
        """Write down, durably, how far it has come: the next worker is to take it up."""

    @abstractmethod
    def end(self, state: OperationState, fault: Fault | None, tell: Update | None) -> Operation:
        """Give the operation its end, durably; return it as kept.

        Its sealed arguments are blanked, unless it is stuck: it may be run again.
        """


class Outbox(ABC):
    """The updates that wait to be published."""

    @abstractmethod
    def waiting(
        self, limit: int, but: Sequence[int] = (), without: Collection[InstanceId | None] = ()
    ) -> tuple[OutboxEntry, ...]:
        """Return unpublished updates, oldest first.

        Those whose ids are in ``but`` are left out, and those of the instances in ``without``.
        """

    @abstractmethod
    def published(self, entries: Sequence[int]) -> None:
        """Note, durably, that the broker has confirmed these."""

    @abstractmethod
    def wait(self, seconds: float) -> None:
        """Return when an update was written, or after that time."""


class Seals(ABC):
    """Secret arguments on their way into the journal and out of it again."""

    @abstractmethod
    def seal(self, operation: OperationId, name: str, secret: Secret) -> str:
        """Return the argument sealed; the same one of the same operation always seals alike."""

    @abstractmethod
    def open(self, operation: OperationId, name: str, sealed: str) -> Secret:
        """Return what was sealed for this argument; raises SecretLost."""
