"""Every outside call of an operation is a step of the journal; no handler writes a line for it.

``wiring`` wraps each outside port with ``recorded``. The step's opening is durable before the
call, its end with the next commit (docs/adr/0002). Whatever else wants to see the calls, a
histogram, a warning that one is slow, a test that kills the worker, is a ``Watch`` around it.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any, TypeVar, cast

from worker.errors import WorkerError
from worker.model.operation import Fault
from worker.ports import OperationRecord, Ports

PortT = TypeVar("PortT")
ResultT = TypeVar("ResultT")

Watch = Callable[[str], AbstractContextManager[object]]
"""Given a step's name, what to enter before the call and to leave after it."""


def fault_of(error: Exception) -> Fault:
    """Return what may be told of an error: never a class name or a traceback."""
    if isinstance(error, WorkerError):
        return Fault(code=error.code, message=str(error))
    return Fault(code=WorkerError.code, message="the worker failed; its log says more")


class Recorder:
    """Writes the steps of one operation."""

    def __init__(self, record: OperationRecord, watches: Sequence[Watch] = ()) -> None:
        """Write to the record; enter the watches around each call, in that order."""
        self._record = record
        self._watches = watches

    def step(self, name: str, call: Callable[[], ResultT]) -> ResultT:
        """Make the call, as a step of that name."""
        number = self._record.open_step(name)
        begun = time.monotonic()
        try:
            with ExitStack() as stack:
                for watch in self._watches:
                    stack.enter_context(watch(name))
                result = call()
        except Exception as error:
            self._record.close_step(number, time.monotonic() - begun, fault_of(error))
            raise
        self._record.close_step(number, time.monotonic() - begun, None)
        return result


class _Recorded:
    """A stand-in that answers every method of a port by a step."""

    def __init__(self, name: str, port: object, recorder: Recorder) -> None:
        self._name = name
        self._port = port
        self._recorder = recorder

    def __getattr__(self, method: str) -> Callable[..., Any]:
        call = getattr(self._port, method)
        name = f"{self._name}.{method}"

        def step(*args: object, **kwargs: object) -> object:
            return self._recorder.step(name, lambda: call(*args, **kwargs))

        step.__qualname__ = name
        return step


OUTSIDE = ("guests", "disks", "volumes", "attachments", "pool", "connector")
"""The ports whose calls leave the worker; the others are the journal and what stands beside it."""


def recorded(name: str, port: PortT, recorder: Recorder) -> PortT:
    """Return the port with each of its calls recorded as ``<name>.<method>``."""
    return cast("PortT", _Recorded(name, port, recorder))


def record_outside(ports: Ports, recorder: Recorder) -> Ports:
    """Return the ports with each outside one recorded under its own name."""
    wrapped = {name: recorded(name, getattr(ports, name), recorder) for name in OUTSIDE}
    return replace(ports, **wrapped)
