"""Every outside call of an operation is a step of the journal; no handler writes a line for it.

``wiring`` wraps the outside ports with ``wrap_outside``. The step's opening is durable before the
call, unless it only looks; its end with the next commit (docs/adr/0002). Whatever else wants to
see the calls, a histogram, a warning that one is slow, a test that kills the worker, is a
``Watch`` around it.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from typing import Any, TypeVar

from worker.errors import Unavailable
from worker.model.operation import Operation, fault_of
from worker.ports import OperationRecord, Outside, Ports

ResultT = TypeVar("ResultT")

Watch = Callable[[str], AbstractContextManager[object]]
"""Given a step's name, what to enter before the call and to leave after it."""

Watcher = Callable[[Operation], Watch]
"""Given an operation that begins, or is run again, the watch over its calls."""


Around = Callable[[str, Callable[[], Any]], Any]
"""Given a call's name and the call, make it."""


LOOKS = frozenset(
    {
        "guests.describe",
        "guests.find",
        "insides.disks",
        "insides.in_doubt",
        "insides.doubt",
        "machines.check",
        "rescues.check",
        "power.wait_off",
        "block_copies.look",
        "definitions.read",
        "definitions.layout",
        "definitions.marked",
        "definitions.taken",
        "definitions.beside",
        "definitions.keeps",
        "autostart.is_on",
        "host_files.exists",
        "host_files.label",
        "images.show",
        "images.copy",
        "local_disks.check_room",
        "local_disks.find",
        "local_disks.folder",
        "local_disks.base",
        "config_drives.find",
        "volumes.show",
        "pool.check_growth",
        "volumes.encryption",
        "keys.passphrase",
        "guest_secrets.list",
        "attachments.get",
        "attachments.find",
        "attachments.of_instance",
        "pool.list",
        "connector.properties",
        "connector.find",
        "leftovers.list",
        "leftovers.marks",
        "connector.examine",
    }
)
"""Calls that change nothing: one that a crash cuts off leaves nothing to be found."""

POLLS = frozenset({"block_copies.look"})
"""Looks that are made for as long as something takes, hours perhaps: the journal has none of them.

So no death in between is counted against the operation, and none of them is ever slow.
"""


class Recorder:
    """Writes the steps of one operation."""

    def __init__(self, record: OperationRecord, watches: Sequence[Watch] = ()) -> None:
        """Write to the record; enter the watches around each call, in that order."""
        self._record = record
        self._watches = watches

    def step(self, name: str, call: Callable[[], ResultT]) -> ResultT:
        """Make the call, as a step of that name."""
        if name in POLLS:
            return _within(self._watches, name, call)
        number = self._record.open_step(name, look=name in LOOKS)
        begun = time.monotonic()
        try:
            result = _within(self._watches, name, call)
        except Exception as error:
            self._record.close_step(number, time.monotonic() - begun, fault_of(error))
            raise
        self._record.close_step(number, time.monotonic() - begun, None)
        return result


def _within(watches: Sequence[Watch], name: str, call: Callable[[], ResultT]) -> ResultT:
    if not watches:
        return call()
    with watches[0](name):
        return _within(watches[1:], name, call)


class Bound:
    """Lets outside calls take so long and no longer; for calls, whose sender waits."""

    def __init__(self, seconds: float, *, threads: int) -> None:
        """Make the calls on a pool of that many threads of its own."""
        self._seconds = seconds
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="bounded")

    def call(self, name: str, call: Callable[[], ResultT]) -> ResultT:
        """Make the call; raises Unavailable when it is not back in time.

        A thread cannot be stopped: the call goes on, and its result is dropped.
        """
        answer = self._pool.submit(call)
        try:
            return answer.result(self._seconds)
        except TimeoutError as error:
            # One that has not begun would be made in vain, ahead of others that are waited for.
            answer.cancel()
            message = f"{name} gave no answer within {self._seconds} s"
            raise Unavailable(message) from error

    def close(self) -> None:
        """Let go of the threads, without waiting for calls that hang."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Wrapped:
    """A stand-in that makes every call of a port through ``around``."""

    def __init__(self, name: str, port: object, around: Around) -> None:
        self._name = name
        self._port = port
        self._around = around

    def __getattr__(self, method: str) -> Callable[..., Any]:
        call = getattr(self._port, method)
        name = f"{self._name}.{method}"

        def made_through(*args: object, **kwargs: object) -> object:
            return self._around(name, lambda: call(*args, **kwargs))

        made_through.__qualname__ = name
        return made_through


OUTSIDE = tuple(port.name for port in fields(Outside))
"""The names of the ports whose calls leave the worker; a step is ``<port>.<method>``."""


def port_of(step: str) -> str:
    """Return the name of the port whose call the step is."""
    return step.partition(".")[0]


def wrap_outside(ports: Ports, around: Around) -> Ports:
    """Return the ports with each call of an outside one made through ``around``."""
    return replace(ports, **wrapped(ports, around))


def wrapped(outside: Outside, around: Around) -> dict[str, Any]:
    """Return the outside ports by their names, each call of one made through ``around``.

    ``around`` gets the call's name, ``<port>.<method>``, and the call.
    """
    return {name: _Wrapped(name, getattr(outside, name), around) for name in OUTSIDE}
