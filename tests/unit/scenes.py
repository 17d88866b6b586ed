"""Scenes: a world, and an operation asked of it; and ways to break what happens next."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tests import fakes
from tests.fakes.world import FakeGuest, World
from worker.errors import (
    ConnectFailed,
    HypervisorUnavailable,
    VolumeServiceUnavailable,
    WorkerError,
)
from worker.execution import Kind, Patience, carry_out
from worker.handlers.reserve_block_device_name import (
    ReserveBlockDeviceName,
    reserve_block_device_name,
)
from worker.model.block_device import Bus
from worker.model.ids import BlockDeviceId, InstanceId, OperationId, VolumeId
from worker.model.instance import Instance, TaskState, VmState
from worker.model.operation import Operation
from worker.model.volume import GIB, Volume, VolumeStatus
from worker.rpc.methods import OPERATIONS

INSTANCE = InstanceId("6f9a5bd0-5d50-4f3c-9c35-1a7c61d2e001")
OTHER_INSTANCE = InstanceId("6f9a5bd0-5d50-4f3c-9c35-1a7c61d2e002")
VOLUME = VolumeId("2b1c8a52-0a52-4c8c-8f5b-3d3e6d9e0001")
OTHER_VOLUME = VolumeId("2b1c8a52-0a52-4c8c-8f5b-3d3e6d9e0002")
DEVICE = BlockDeviceId("c0ffee00-0000-4000-8000-000000000001")
OTHER_DEVICE = BlockDeviceId("c0ffee00-0000-4000-8000-000000000002")
OPERATION = OperationId("0b5e0000-0000-4000-8000-000000000001")

AT_ONCE = Patience(max_attempts=5, max_waits=5, first_pause=0.0, longest_pause=0.0)


class Crash(BaseException):
    """The worker was killed: nothing of ours runs after it."""


def world(vm_state: VmState = VmState.ACTIVE) -> World:
    """Return a world with one guest and two free volumes."""
    found = World()
    found.guests[INSTANCE] = FakeGuest(name="guest-1", vm_state=vm_state)
    found.instances[INSTANCE] = Instance(
        uuid=INSTANCE, host="host-1", name="guest-1", vm_state=vm_state
    )
    for volume in (VOLUME, OTHER_VOLUME):
        found.volumes[volume] = Volume(id=volume, size=GIB, status=VolumeStatus.AVAILABLE)
    return found


def shared() -> World:
    """Return a world in which a second guest of the host has the volume, which takes several."""
    found = world()
    found.guests[OTHER_INSTANCE] = FakeGuest(name="guest-2")
    found.instances[OTHER_INSTANCE] = replace(
        found.instances[INSTANCE], uuid=OTHER_INSTANCE, name="guest-2"
    )
    found.volumes[VOLUME] = replace(found.volumes[VOLUME], multiattach=True)
    place: dict[str, Any] = {"instance_uuid": OTHER_INSTANCE, "bdm_uuid": OTHER_DEVICE}
    wanted = ReserveBlockDeviceName(**place, volume_id=VOLUME, multiattach=True)
    reserve_block_device_name(wanted, fakes.ports(found))
    asked = operation("attach_volume", number=200, **place)
    asked = replace(asked, lane=OTHER_INSTANCE, instance=OTHER_INSTANCE)
    assert run(found, asked).fault is None
    return found


def reserve(
    found: World,
    volume: VolumeId = VOLUME,
    uuid: BlockDeviceId = DEVICE,
    **arguments: Any,  # noqa: ANN401 - as a caller of the bus would
) -> dict[str, Any]:
    """Reserve a place for the volume on the guest."""
    request = ReserveBlockDeviceName(
        instance_uuid=INSTANCE, volume_id=volume, bdm_uuid=uuid, **arguments
    )
    return reserve_block_device_name(request, fakes.ports(found))


def operation(method: str, number: int = 1, **arguments: Any) -> Operation:  # noqa: ANN401
    """Return an operation on the first guest's first device."""
    return Operation(
        id=OperationId(f"{OPERATION[:-4]}{number:04d}"),
        method=method,
        arguments=arguments,
        lane=INSTANCE,
        instance=INSTANCE,
        block_device=arguments.get("bdm_uuid"),
    )


def run(found: World, asked: Operation, *watches: Any, kind: Kind | None = None) -> Operation:  # noqa: ANN401
    """Accept the operation, unless it was, and bring it to its end; return it."""
    kept, _ = fakes.ports(found).operations.accept(asked)
    kept = fakes.ports(found).operations.get(kept.id)
    if kept.state.ended:
        return kept
    page = fakes.page(found, kept, watches)
    kinds = {**OPERATIONS, asked.method: kind} if kind else OPERATIONS
    carry_out(kept, kinds, page, AT_ONCE)
    return fakes.ports(found).operations.get(kept.id)


def attach(found: World, volume: VolumeId = VOLUME, uuid: BlockDeviceId = DEVICE) -> None:
    """Reserve and attach a volume without trouble."""
    several = found.volumes[volume].multiattach
    reserve(found, volume, uuid, disk_bus=Bus.VIRTIO, multiattach=several)
    asked = operation("attach_volume", number=int(uuid[-4:]) + 100, **attach_arguments(uuid))
    assert run(found, asked).fault is None


def taken_over(found: World) -> None:
    """Let another host have the instance; in the database that both share its rows are seen."""
    found.guests.pop(INSTANCE)
    found.instances.pop(INSTANCE)


def released(found: World) -> None:
    """Let the host have let go of the instance, for another to import."""
    found.guests.pop(INSTANCE)
    _becomes(found, TaskState.RELEASED)


def importing(found: World) -> None:
    """Let the instance's import have come as far as its rows."""
    _becomes(found, TaskState.IMPORTING)


def _becomes(found: World, task_state: TaskState) -> None:
    found.instances[INSTANCE] = replace(found.instances[INSTANCE], task_state=task_state)


def attach_arguments(uuid: BlockDeviceId = DEVICE) -> dict[str, Any]:
    """Return what attach_volume is asked with."""
    return {"instance_uuid": INSTANCE, "bdm_uuid": uuid}


def detach_arguments() -> dict[str, Any]:
    """Return what detach_volume is asked with."""
    return {"instance_uuid": INSTANCE, "volume_id": VOLUME, "bdm_uuid": DEVICE}


def away(step: str) -> WorkerError:
    """Return the error by which an adapter says that its part does not answer."""
    port = step.partition(".")[0]
    kinds = {
        "guests": HypervisorUnavailable,
        "disks": HypervisorUnavailable,
        "block_copies": HypervisorUnavailable,
        "guest_peripherals": HypervisorUnavailable,
        "power": HypervisorUnavailable,
        "rescues": HypervisorUnavailable,
        "connector": ConnectFailed,
    }
    return kinds.get(port, VolumeServiceUnavailable)(step)


@dataclass
class Trouble:
    """A watch that counts the calls and makes trouble at one of them, before or after it."""

    at: int | None = None
    after: bool = False
    error: Callable[[str], BaseException] = away
    count: int = 0
    happened: str | None = None

    def __call__(self, name: str) -> AbstractContextManager[None]:
        """Return the watch around one call."""
        return self._around(name)

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.happened or 'no call'}"

    @contextmanager
    def _around(self, name: str) -> Iterator[None]:
        here = self.count == self.at
        self.count += 1
        if here:
            self.happened = name
        if here and not self.after:
            raise self.error(name)
        try:
            yield
        finally:
            if here:
                raise self.error(name)


class Refusing:
    """A watch under which one kind of call always fails, ways back included."""

    def __init__(
        self, name: str, *, spared: int = 0, error: Callable[[str], BaseException] = away
    ) -> None:
        """Let calls of that name fail, but for the first so many."""
        self.name = name
        self.spared = spared
        self.error = error

    def __call__(self, name: str) -> AbstractContextManager[None]:
        """Return the watch around one call."""
        if name == self.name and self.spared:
            self.spared -= 1
            return Trouble()(name)
        return Trouble(at=0 if name == self.name else None, error=self.error)(name)


def soon(true: Callable[[], bool]) -> bool:
    """Wait for what another thread does; return whether it came."""
    until = time.monotonic() + 30.0
    while not true() and time.monotonic() < until:
        time.sleep(0.02)
    return true()
