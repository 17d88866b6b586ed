"""Handlers that fail on demand, and what is asked of the operations that run them."""

from collections.abc import Callable
from typing import Any

from tests.fakes.world import World
from tests.unit import scenes
from tests.unit.scenes import operation
from worker.execution import Kind
from worker.model.block_device import BlockDevice
from worker.model.operation import Fault, Operation, OperationState
from worker.model.update import ATTACH_PHASES
from worker.ports import Ports

LONG = 10.0
ASKED = operation("attach_volume", **scenes.attach_arguments())

Handler = Callable[[Any, Ports], BlockDevice | None]


def kind_of(handler: Handler) -> Kind:
    return Kind(request=dict, handler=handler, phases=ATTACH_PHASES)


def raising(*errors: BaseException | None) -> tuple[Handler, list[int]]:
    """Return a handler that raises these in turn, then succeeds; and its count of calls."""
    left = list(errors)
    calls: list[int] = []

    def handler(_request: object, _ports: Ports) -> None:
        calls.append(len(calls) + 1)
        error = left.pop(0) if left else None
        if error is not None:
            raise error

    return handler, calls


def fault_of(ended: Operation, state: OperationState = OperationState.FAILED) -> Fault:
    assert ended.state is state
    assert ended.fault is not None
    return ended.fault


def told(world: World) -> list[str]:
    return [event for event in world.events() if event != "block_device.reserved"]
