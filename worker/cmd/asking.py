"""Ask the running worker through its local socket; only reading may do without it."""

import argparse
import time
from collections.abc import Mapping
from typing import Any

from worker import wiring
from worker.cmd import options
from worker.cmd.output import say
from worker.errors import WorkerUnreachable
from worker.model.ids import new_uuid
from worker.model.operation import OperationState
from worker.rpc.answers import error_from
from worker.rpc.local import LocalClient

PATIENCE = 2.0
"""Seconds after which a person is told what is waited for."""

POLL = 0.05

DONE, FAILED, WRONG_USAGE, FOUND = 0, 1, 2, 3
"""Exit statuses: done, failed, wrong usage, drift or warning found."""


def ask(arguments: argparse.Namespace, method: str, **request: Any) -> Any:  # noqa: ANN401 - JSON
    """Call a method that changes something."""
    return _client(arguments).call(method, **_given(request))


def read(arguments: argparse.Namespace, method: str, **request: Any) -> Any:  # noqa: ANN401 - JSON
    """Call a method that only reads; without a worker the database is opened for it."""
    try:
        return ask(arguments, method, **request)
    except WorkerUnreachable:
        return wiring.read(options.read(arguments), method, _given(request))


def carry_out(arguments: argparse.Namespace, method: str, **request: Any) -> Mapping[str, Any]:  # noqa: ANN401
    """Ask for an operation and wait for its end; raises WorkerError unless it succeeded."""
    accepted = ask(arguments, method, operation_id=new_uuid(), **_given(request))
    return follow(arguments, accepted)


def follow(arguments: argparse.Namespace, accepted: Mapping[str, Any]) -> Mapping[str, Any]:
    """Wait for the end of an operation; raises WorkerError unless it succeeded."""
    client = _client(arguments)
    begun, told = time.monotonic(), False
    while True:
        found: Mapping[str, Any] = client.call(
            "get_operation", operation_id=accepted["operation_id"]
        )
        state = OperationState(found["state"])
        if state.ended:
            return _succeeded(found, state)
        if not told and time.monotonic() - begun > PATIENCE:
            say(f"operation {_named(found)} is {state}; waiting for its end")
            told = True
        time.sleep(POLL)


def _named(found: Mapping[str, Any]) -> str:
    return f"{found['operation_id']} ({found['method']})"


def _succeeded(found: Mapping[str, Any], state: OperationState) -> Mapping[str, Any]:
    if state is OperationState.SUCCEEDED:
        return found
    raise error_from(found["fault"])


def _client(arguments: argparse.Namespace) -> LocalClient:
    return LocalClient(wiring.socket_path(options.read(arguments)))


def _given(request: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in request.items() if value is not None}
