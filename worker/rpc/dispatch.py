"""From a message to a handler: calls are answered at once, operations go into the journal."""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from worker.errors import (
    DatabaseUnavailable,
    OperationWrongState,
    Unavailable,
    WorkerError,
)
from worker.execution import Kind
from worker.model.begun import Begun
from worker.model.ids import OperationId
from worker.model.operation import Operation, fault_of
from worker.model.update import Event, Update
from worker.ports import Ports
from worker.rpc.asked import Asked, asked_by, asked_of_oneself
from worker.rpc.methods import CALLS, OPERATIONS, Call
from worker.rpc.reading import request_from
from worker.rpc.wire import Message, check_version, instance_in, operation_id_in


def tell_nobody(_message: Message, _answer: object) -> None:
    """Pass over an answer that nobody else asked to be told of."""


class Dispatcher:
    """The one door: RPC server, intake and local socket all come through here."""

    def __init__(
        self,
        open_call: Callable[[], AbstractContextManager[Ports]],
        submit: Callable[[Operation], None],
        *,
        submit_new: Callable[[Operation], None] | None = None,
        calls: Mapping[str, Call] = CALLS,
        operations: Mapping[str, Kind] = OPERATIONS,
    ) -> None:
        """``open_call`` gives a request its ports and commits when the request succeeds.

        ``submit`` has an operation run that the journal holds: the runner's; ``submit_new`` one
        that it has just taken for the first time. ``on_answer``, set later, is told of each call's
        answer.
        """
        self._open_call = open_call
        self._submit = submit
        self._submit_new = submit_new or submit
        self._calls = calls
        self._operations = operations
        self.on_answer: Callable[[Message, Any], None] = tell_nobody
        self._in_doubt: set[OperationId] = set()
        self._lock = threading.Lock()
        self._resuming = threading.Lock()

    def serve(self, message: Message) -> Any:  # noqa: ANN401 - whatever the method answers
        """Serve a message whose sender waits: return the answer, or the operation as accepted.

        Raises what ``call`` and ``accept`` raise, and VersionUnsupported.
        """
        check_version(message.version)
        if message.method in self._calls:
            return self.call(message)
        return self.accept(message).public()

    def take(self, message: Message) -> None:
        """Serve a message whose sender does not wait: into the journal, or refused and told.

        When this returns, what became of it is durable. Raises RequestMalformed when it carries
        no operation id, so that nobody can be told; Unavailable when it should be tried again.
        """
        operation_id = operation_id_in(message.arguments)
        try:
            check_version(message.version)
            self.accept(message)
        except Unavailable:
            raise
        except WorkerError as error:
            self._refuse(operation_id, message, error)

    def take_together(self, messages: Sequence[Message]) -> None:
        """Keep several operations in one commit and have them run, in their order.

        It raises, and keeps none, unless all are new and well formed; each is to be taken by
        itself then.
        """
        for message in messages:
            check_version(message.version)
        asked = [asked_by(message, self._operations) for message in messages]
        try:
            with self._open_call() as ports:
                kept = ports.operations.accept_new([each.ready(ports) for each in asked])
        except DatabaseUnavailable:
            for each in asked:
                self._doubt(each.operation.id)
            raise
        for operation in kept:
            self._was_in_doubt(operation.id)
            self._submit_new(operation)

    def call(self, message: Message) -> Any:  # noqa: ANN401 - whatever the method answers
        """Run a call and return its answer, plain JSON; raises what the handler raises."""
        call = self._calls[message.method]
        request = request_from(call.request, message.arguments)
        if call.resumes:
            return self._resume(call, request).public()
        with self._open_call() as ports:
            answer = call.handler(request, ports)
        if call.begins:
            answer = self._begun(answer)
        self.on_answer(message, answer)
        return answer

    def accept(self, message: Message) -> Operation:
        """Keep an operation in the journal and have it run; return it as kept.

        One that was accepted before changes nothing. Raises MethodUnknown, RequestMalformed,
        OperationConflict, DatabaseUnavailable.
        """
        return self._keep(asked_by(message, self._operations))

    def submit_own(self, method: str, **arguments: str | int | bool | None) -> Operation:
        """Begin an operation that the worker asks of itself; raises DatabaseUnavailable."""
        kind = self._operations[method]
        request = request_from(kind.request, arguments)
        return self._keep(asked_of_oneself(method, request, kind))

    def _resume(self, call: Call, request: Any) -> Operation:  # noqa: ANN401 - one type a method
        """Have the operation run that the handler returns; return it as kept."""
        with self._resuming:
            try:
                with self._open_call() as ports:
                    operation: Operation = call.handler(request, ports)
            except DatabaseUnavailable:
                self._doubt(request.operation_id)
                raise
            except OperationWrongState:
                found = self._resumed_in_doubt(request.operation_id)
                if found is None:
                    raise
                operation = found
            self._was_in_doubt(operation.id)
        self._submit(operation)
        return operation

    def _begun(self, begun: Begun) -> Mapping[str, Any]:
        """Have the operation run that the call has begun; return the call's answer."""
        if begun.operation is not None:
            self._submit(begun.operation)
        return begun.answer

    def _resumed_in_doubt(self, operation: OperationId) -> Operation | None:
        """Return an operation that is unfinished and that nobody runs, for no answer said so."""
        with self._lock:
            if operation not in self._in_doubt:
                return None
        with self._open_call() as ports:
            found = ports.operations.get(operation)
        return None if found.state.ended else found

    def _keep(self, asked: Asked) -> Operation:
        try:
            with self._open_call() as ports:
                kept, new = ports.operations.accept(asked.ready(ports))
        except DatabaseUnavailable:
            self._doubt(asked.operation.id)
            raise
        doubted = self._was_in_doubt(kept.id)
        if new:
            self._submit_new(kept)
        elif doubted:
            self._submit(kept)
        return kept

    def _doubt(self, operation: OperationId) -> None:
        with self._lock:
            self._in_doubt.add(operation)

    def _was_in_doubt(self, operation: OperationId) -> bool:
        """A commit whose answer was lost may have happened: then it comes back as not new."""
        with self._lock:
            doubted = operation in self._in_doubt
            self._in_doubt.discard(operation)
        return doubted

    def _refuse(self, operation: OperationId, message: Message, error: WorkerError) -> None:
        with self._open_call() as ports:
            ports.updates.tell(
                Update(
                    event=Event.REFUSED,
                    instance=instance_in(message.arguments),
                    operation=operation,
                    request_id=message.request_id,
                    fault=fault_of(error),
                )
            )
