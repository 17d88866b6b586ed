"""The one door: what is answered, what is taken, what is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit.scenes import DEVICE, INSTANCE, OPERATION, VOLUME, reserve, world
from worker.errors import (
    DatabaseUnavailable,
    MethodUnknown,
    OperationConflict,
    OperationWrongState,
    RequestMalformed,
    VersionUnsupported,
    WorkerError,
)
from worker.model.ids import is_uuid, new_uuid
from worker.model.operation import Operation, OperationState
from worker.model.update import Event
from worker.ports import Ports
from worker.rpc.dispatch import Dispatcher
from worker.rpc.wire import Message


@dataclass
class Door:
    """A dispatcher, what it was asked to run, and how the database fails it."""

    world: World = field(default_factory=world)
    submitted: list[Operation] = field(default_factory=list)
    lose_commits: int = 0

    def __post_init__(self) -> None:
        self.dispatcher = Dispatcher(self.open_call, self.submitted.append)

    @contextmanager
    def open_call(self) -> Iterator[Ports]:
        yield fakes.ports(self.world)
        self.world.commit()
        if self.lose_commits:
            self.lose_commits -= 1
            raise DatabaseUnavailable("the answer to the commit was lost")

    def told(self) -> list[tuple[Event, str | None]]:
        return [
            (update.event, None if update.fault is None else update.fault.code)
            for update in self.world.told
            if update.event is Event.REFUSED
        ]


def asked(method: str, *, version: str = "1.0", **arguments: Any) -> Message:  # noqa: ANN401
    return Message(method=method, arguments=arguments, version=version, request_id="req-1")


def attach(**more: Any) -> Message:  # noqa: ANN401
    wanted = {"operation_id": OPERATION, "instance_uuid": INSTANCE, "bdm_uuid": DEVICE}
    return asked("attach_volume", **(wanted | more))


@pytest.fixture
def door() -> Door:
    found = Door()
    reserve(found.world)
    return found


def test_a_call_is_answered(door: Door) -> None:
    assert door.dispatcher.serve(asked("ping"))["host"] == "host-1"


def test_an_operation_is_kept_then_run(door: Door) -> None:
    answer = door.dispatcher.serve(attach(expires_at="2030-01-01T00:00:00Z"))
    assert (answer["operation_id"], answer["state"]) == (OPERATION, "queued")
    (kept,) = door.submitted
    assert (kept.lane, kept.instance, kept.block_device) == (INSTANCE, INSTANCE, DEVICE)
    assert kept.expires_at == datetime(2030, 1, 1, tzinfo=UTC)
    assert (kept.request_id, kept.own) == ("req-1", False)
    assert set(kept.arguments) == {"instance_uuid", "bdm_uuid", "attachment_id"}


def test_a_second_delivery_changes_nothing(door: Door) -> None:
    door.dispatcher.take(attach())
    door.dispatcher.take(attach())
    assert len(door.submitted) == 1
    assert door.told() == []


def test_the_same_id_for_something_else_is_refused_and_told(door: Door) -> None:
    door.dispatcher.take(attach())
    door.dispatcher.take(attach(bdm_uuid=VOLUME))
    assert door.told() == [(Event.REFUSED, OperationConflict.code)]
    with pytest.raises(OperationConflict):
        door.dispatcher.serve(attach(bdm_uuid=VOLUME))
    assert len(door.submitted) == 1


def deletes(count: int) -> list[Message]:
    return [
        asked("delete_volume", operation_id=new_uuid(), volume_id=new_uuid()) for _ in range(count)
    ]


def ids(messages: list[Message]) -> list[str]:
    return [message.arguments["operation_id"] for message in messages]


def test_what_is_taken_together_is_kept_and_run_in_its_order(door: Door) -> None:
    messages = deletes(3)
    door.dispatcher.take_together(messages)
    assert [operation.id for operation in door.submitted] == ids(messages)
    assert list(door.world.operations) == ids(messages)


@pytest.mark.parametrize(
    "other", [{"method": "fly"}, {"version": "1.99"}, {"arguments": {"operation_id": "x"}}]
)
def test_what_is_taken_together_is_kept_as_a_whole_or_not(
    door: Door, other: dict[str, Any]
) -> None:
    first, second = deletes(2)
    with pytest.raises(WorkerError):
        door.dispatcher.take_together([first, replace(second, **other)])
    assert door.world.operations == {}
    assert door.submitted == []


def test_what_was_taken_before_is_not_taken_together(door: Door) -> None:
    messages = deletes(2)
    door.dispatcher.take(messages[1])
    for batch in (messages, [messages[0], messages[0]]):
        with pytest.raises(OperationConflict):
            door.dispatcher.take_together(batch)
    assert [operation.id for operation in door.submitted] == ids(messages)[1:]


def test_what_was_kept_together_without_an_answer_is_run_once(door: Door) -> None:
    messages = deletes(2)
    door.lose_commits = 1
    with pytest.raises(DatabaseUnavailable):
        door.dispatcher.take_together(messages)
    assert door.submitted == []
    with pytest.raises(OperationConflict):
        door.dispatcher.take_together(messages)
    for message in messages * 2:
        door.dispatcher.take(message)
    assert [operation.id for operation in door.submitted] == ids(messages)


def test_a_pool_operation_has_a_lane_per_volume(door: Door) -> None:
    door.dispatcher.serve(asked("delete_volume", operation_id=OPERATION, volume_id=VOLUME))
    (kept,) = door.submitted
    assert (kept.lane, kept.instance) == (f"volume:{VOLUME}", None)


def test_a_detach_names_the_row_that_is_live_when_it_is_accepted(door: Door) -> None:
    detach = asked(
        "detach_volume", operation_id=OPERATION, instance_uuid=INSTANCE, volume_id=VOLUME
    )
    door.dispatcher.take(detach)
    door.world.rows.clear()
    door.dispatcher.take(detach)
    assert [kept.block_device for kept in door.submitted] == [DEVICE]
    assert door.told() == []


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (attach(version="1.99"), VersionUnsupported.code),
        (attach(version="2.0"), VersionUnsupported.code),
        (attach(colour="red"), RequestMalformed.code),
        (attach(expires_at="tomorrow"), RequestMalformed.code),
        (asked("fly", operation_id=OPERATION), MethodUnknown.code),
        (asked("ping", operation_id=OPERATION), MethodUnknown.code),
        (
            asked("sync_power_state", operation_id=OPERATION, instance_uuid=INSTANCE),
            MethodUnknown.code,
        ),
    ],
    ids=str,
)
def test_what_can_be_refused_is_refused_and_told(door: Door, message: Message, code: str) -> None:
    door.dispatcher.take(message)
    assert door.told() == [(Event.REFUSED, code)]
    assert door.submitted == []


def test_a_refusal_names_operation_instance_and_request(door: Door) -> None:
    door.dispatcher.take(attach(colour="red", instance_uuid=INSTANCE.upper()))
    (update,) = (each for each in door.world.told if each.event is Event.REFUSED)
    assert (update.operation, update.instance) == (OPERATION, INSTANCE)
    assert update.request_id == "req-1"


@pytest.mark.parametrize("operation_id", [None, 7, "x"])
def test_without_an_id_nobody_can_be_told(door: Door, operation_id: object) -> None:
    with pytest.raises(RequestMalformed, match="operation_id"):
        door.dispatcher.take(attach(operation_id=operation_id))
    assert door.told() == []


def test_a_call_of_what_is_unknown_or_too_new_raises(door: Door) -> None:
    with pytest.raises(MethodUnknown):
        door.dispatcher.serve(asked("fly"))
    with pytest.raises(MethodUnknown):
        door.dispatcher.serve(asked("sync_power_state", instance_uuid=INSTANCE))
    with pytest.raises(VersionUnsupported):
        door.dispatcher.serve(asked("ping", version="1.1"))


def test_an_operation_whose_commit_was_in_doubt_is_run_all_the_same(door: Door) -> None:
    door.lose_commits = 1
    with pytest.raises(DatabaseUnavailable):
        door.dispatcher.take(attach())
    assert door.submitted == []
    door.dispatcher.take(attach())
    door.dispatcher.take(attach())
    assert len(door.submitted) == 1


def test_only_what_no_copy_can_have_brought_is_run_as_new(door: Door) -> None:
    new: list[Operation] = []
    dispatcher = Dispatcher(door.open_call, door.submitted.append, submit_new=new.append)
    for message in deletes(2):
        dispatcher.take(message)
    dispatcher.take_together(deletes(4)[2:])
    assert (len(new), door.submitted) == (4, [])
    door.lose_commits = 1
    with pytest.raises(DatabaseUnavailable):
        dispatcher.take(attach())
    dispatcher.take(attach())
    assert (len(new), len(door.submitted)) == (4, 1)


def test_the_workers_own_operation_has_an_id_of_its_own(door: Door) -> None:
    kept = door.dispatcher.submit_own("sync_power_state", instance_uuid=INSTANCE)
    assert (kept.own, kept.lane) == (True, INSTANCE)
    assert is_uuid(kept.id)
    assert door.submitted == [kept]


@pytest.fixture
def stuck(door: Door) -> Operation:
    """An operation that is stuck, as the journal has it."""
    kept = door.dispatcher.accept(attach())
    door.submitted.clear()
    door.world.operations[kept.id] = replace(
        kept, state=OperationState.STUCK, started_at=door.world.now, attempts=5
    )
    return kept


def again() -> Message:
    return asked("retry_operation", operation_id=OPERATION)


def test_what_is_retried_is_answered_as_it_is_and_run(door: Door, stuck: Operation) -> None:
    answer = door.dispatcher.serve(again())
    assert (answer["operation_id"], answer["state"]) == (stuck.id, "running")
    assert door.submitted == [door.world.operations[stuck.id]]


def test_a_retry_is_run_once(door: Door, stuck: Operation) -> None:
    door.dispatcher.serve(again())
    with pytest.raises(OperationWrongState):
        door.dispatcher.serve(again())
    assert len(door.submitted) == 1


def test_a_retry_whose_commit_was_in_doubt_is_run_when_it_is_asked_again(
    door: Door, stuck: Operation
) -> None:
    door.lose_commits = 1
    with pytest.raises(DatabaseUnavailable):
        door.dispatcher.serve(again())
    assert door.submitted == []
    assert door.dispatcher.serve(again())["state"] == "running"
    with pytest.raises(OperationWrongState):
        door.dispatcher.serve(again())
    assert [kept.id for kept in door.submitted] == [stuck.id]


def test_a_doubt_about_what_has_ended_since_runs_nothing(door: Door, stuck: Operation) -> None:
    door.lose_commits = 1
    with pytest.raises(DatabaseUnavailable):
        door.dispatcher.serve(again())
    ended = replace(door.world.operations[stuck.id], state=OperationState.SUCCEEDED)
    door.world.operations[stuck.id] = ended
    with pytest.raises(OperationWrongState):
        door.dispatcher.serve(again())
    assert door.submitted == []


def test_abandoning_runs_nothing(door: Door, stuck: Operation) -> None:
    answer = door.dispatcher.serve(asked("abandon_operation", operation_id=OPERATION))
    assert (answer["state"], answer["message"]) == (
        "abandoned",
        f"block device {DEVICE} stays reserved",
    )
    assert door.submitted == []
