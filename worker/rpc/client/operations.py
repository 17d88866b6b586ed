"""Operations and what they came to, as a client asks for them."""

import time
from typing import Unpack

from worker.errors import BrokerUnavailable, OperationNotFound, WorkerError, WorkerUnreachable
from worker.model.operation import OperationState
from worker.rpc.client.sender import Json, Sender, Sending, listed, mapping
from worker.rpc.hearing import Hearing
from worker.rpc.link import BROKER_ERRORS, opened


class OperationMethods(Sender):
    """What is asked of a worker about itself and what it was asked."""

    def wait_for(
        self, host: str, operation_id: str, *, seconds: float = 60.0, every: float = 0.2
    ) -> Json:
        """Return the operation once it has ended; raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                found = self.get_operation(host, operation_id=operation_id)
            except (OperationNotFound, WorkerError, WorkerUnreachable):
                # Still on its way to the journal, or the worker is being started again.
                found = None
            if found is not None and OperationState(found["state"]).ended:
                return found
            time.sleep(every)
        message = f"operation {operation_id} has not ended within {seconds} s"
        raise TimeoutError(message)

    def updates(self) -> Hearing:
        """Return what hears the updates of all hosts, from ``with`` on."""
        return Hearing(self._settings)

    def reach_broker(self) -> None:
        """Return if the broker takes a new connection; raises BrokerUnavailable."""
        if self._settings.in_process is not None:
            return
        try:
            with opened(self._settings, "look"):
                return
        except BROKER_ERRORS as error:
            raise BrokerUnavailable("the message broker does not answer") from error

    def ping(self, host: str) -> Json:
        """Return the worker's host and time."""
        return mapping(self.call(host, "ping"))

    def get_operation(self, host: str, *, operation_id: str) -> Json:
        """Return one operation with its steps."""
        return mapping(self.call(host, "get_operation", operation_id=operation_id))

    def list_operations(
        self,
        host: str,
        *,
        instance_uuid: str | None = None,
        state: str | None = None,
        limit: int = 100,
    ) -> list[Json]:
        """Return operations without their steps, newest first."""
        return listed(
            self.call(
                host, "list_operations", instance_uuid=instance_uuid, state=state, limit=limit
            )
        )

    def cancel_operation(self, host: str, *, operation_id: str) -> Json:
        """Ask for the end of an operation that waits or copies; return it as it is then."""
        return mapping(self.call(host, "cancel_operation", operation_id=operation_id))

    def retry_operation(self, host: str, *, operation_id: str) -> Json:
        """Have a stuck operation run again from where it stands; return it as it is then."""
        return mapping(self.call(host, "retry_operation", operation_id=operation_id))

    def abandon_operation(self, host: str, *, operation_id: str) -> Json:
        """Give a stuck operation up; return it, with a ``message`` that says what was decided."""
        return mapping(self.call(host, "abandon_operation", operation_id=operation_id))

    def find_drift(
        self, host: str, *, instance_uuid: str | None = None, qemu: bool = False
    ) -> Json:
        """Return where the views of the block devices differ, with what a repair would do."""
        found = self.call(host, "find_drift", instance_uuid=instance_uuid, qemu=qemu)
        return mapping(found)

    def find_residue(self, host: str, *, instance_uuid: str | None = None) -> Json:
        """Return what volumes left on the host, with what a repair would do about it."""
        return mapping(self.call(host, "find_residue", instance_uuid=instance_uuid))

    def repair_drift(
        self, host: str, *, instance_uuid: str, qemu: bool = False, **sending: Unpack[Sending]
    ) -> str:
        """Mend what ``find_drift`` and ``find_residue`` offer to mend of one instance."""
        return self.cast(host, "repair_drift", instance_uuid=instance_uuid, qemu=qemu, **sending)
