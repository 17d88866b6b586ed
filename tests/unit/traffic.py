"""What callers send, in whatever order, and what each of them may conclude from the answer."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from tests.fakes.world import World
from tests.unit.fake_worker import FakeWorker, Plan
from worker.errors import OperationConflict, Unavailable, WorkerError
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.ids import BlockDeviceId, InstanceId, OperationId, VolumeId
from worker.model.update import Event
from worker.rpc.asked import OF_THE_MESSAGE
from worker.rpc.wire import Message

OF_DEVICES = ("attach_volume", "detach_volume")

NOBODYS = "0dd00000-0000-4000-8000-000000000001"


def row_id(number: int) -> BlockDeviceId:
    """Return the id that a caller chose for his n-th row."""
    return BlockDeviceId(f"c0ffee00-0000-4000-8000-{number:012d}")


@dataclass
class Traffic:
    """Calls and messages; ``rows`` are all that were ever reserved, the live ones first."""

    world: World
    worker: FakeWorker
    messages: list[Message] = field(default_factory=list)
    asked: dict[OperationId, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)
    refused: int = 0
    known: list[BlockDeviceId] = field(default_factory=list)

    @property
    def rows(self) -> list[BlockDevice]:
        live = [self.world.rows[uuid] for uuid in self.known if uuid in self.world.rows]
        return live + [
            self.world.removed[uuid] for uuid in self.known if uuid in self.world.removed
        ]

    def reserve(
        self,
        instance: InstanceId,
        volume: VolumeId,
        uuid: BlockDeviceId,
        plan: Plan | None = None,
        **wanted: str | None,
    ) -> None:
        """A row that is as asked, the same as before for the same id; or nothing at all."""
        before, earlier = self.world.copy(), self.world.rows.get(uuid)
        shared = self.world.volumes[volume].multiattach
        place = {"instance_uuid": instance, "volume_id": volume, "multiattach": shared}
        with self._or_nothing(before, plan):
            answer = self.worker.call(
                "reserve_block_device_name", plan=plan, bdm_uuid=uuid, **place, **wanted
            )
            row = self.world.rows[uuid]
            assert answer == row.public()
            assert (row.instance, row.volume) == (instance, volume)
            assert earlier in (None, row)
        if uuid in self.world.rows and uuid not in self.known:
            self.known.append(uuid)

    def release(self, uuid: BlockDeviceId) -> None:
        """What is only reserved goes; anything else stays as it is."""
        before = self.world.copy()
        row = before.rows.get(uuid)
        with self._or_nothing(before):
            self.worker.call("release_block_device", bdm_uuid=uuid)
            assert uuid not in self.world.rows
            assert row is None or row.status is DeviceStatus.RESERVED

    def send(self, method: str, **arguments: str | bool | int | None) -> Message:
        """Send an operation of its own id; it may arrive at any time, or never, or often."""
        number = f"0b5e0000-0000-4000-8000-{len(self.messages) + 1:012d}"
        message = Message(method=method, arguments={"operation_id": number, **arguments})
        self.messages.append(message)
        return message

    def deliver(self, message: Message) -> None:
        """The first copy is accepted; a second changes nothing, another one is refused."""
        operation_id = OperationId(message.arguments["operation_id"])
        asked = message.method, _own(message.arguments)
        first = self.asked.setdefault(operation_id, asked)
        before = dict(self.world.operations), dict(self.worker.runner.held.work)
        meant = self._live(message)
        self.worker.dispatcher.take(message)
        if operation_id in before[0]:
            assert before == (self.world.operations, self.worker.runner.held.work)
        else:
            assert self.world.operations[operation_id].block_device == meant
        self.refused += first != asked
        self._check_refusals(operation_id, anew=first != asked)

    def altered(self, message: Message, what: str) -> Message:
        """Return the message with something else in it, and the same operation id."""
        arguments = dict(message.arguments)
        if what != "method" and message.method in OF_DEVICES:
            return replace(message, arguments={**arguments, what: NOBODYS})
        kept = {name: arguments[name] for name in ("operation_id", "instance_uuid")}
        return Message(method="attach_volume", arguments={**kept, "bdm_uuid": NOBODYS})

    def _live(self, message: Message) -> BlockDeviceId | None:
        """Return the row that an operation means: the one it names, or the live one."""
        arguments = message.arguments
        if arguments.get("bdm_uuid") is not None:
            return BlockDeviceId(arguments["bdm_uuid"])
        place = arguments["instance_uuid"], arguments.get("volume_id")
        rows = self.world.rows.values()
        return next((row.uuid for row in rows if (row.instance, row.volume) == place), None)

    def _check_refusals(self, operation_id: OperationId, *, anew: bool) -> None:
        told = [update for update in self.world.told if update.event is Event.REFUSED]
        assert len(told) == self.refused
        if anew:
            assert told[-1].operation == operation_id
            assert told[-1].fault is not None
            assert told[-1].fault.code == OperationConflict.code

    @contextmanager
    def _or_nothing(self, before: World, plan: Plan | None = None) -> Iterator[None]:
        refusal: WorkerError | None = None
        try:
            yield
        except WorkerError as error:
            refusal = error
        if refusal is not None:
            assert self.world == before or (plan is not None and plan.interleaved), refusal
            assert plan is not None or not isinstance(refusal, Unavailable)


def _own(arguments: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in arguments.items() if value is not None}
    return {name: value for name, value in given.items() if name not in OF_THE_MESSAGE}
