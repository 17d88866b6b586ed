"""A secret argument, with a method that only this test has: sealed, opened once, and gone."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit import scenes
from tests.unit.scenes import AT_ONCE, INSTANCE, OPERATION
from worker.errors import HypervisorRefused, LeftBehind, OperationConflict, SecretLost
from worker.execution import Kind, carry_out
from worker.model.ids import InstanceId
from worker.model.operation import Operation, OperationState
from worker.model.secret import BLANK, Secret
from worker.ports import Ports
from worker.rpc.dispatch import Dispatcher
from worker.rpc.wire import Message

PASSWORD = "sesame-open-7391"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescue:
    """What rescue will ask for."""

    instance_uuid: InstanceId
    rescue_password: Secret | None = None


class Rescuer:
    """A handler that notes the password it was given."""

    def __init__(self, error: Exception | None = None) -> None:
        self.given: list[str | None] = []
        self.error = error

    def __call__(self, request: Rescue, _ports: Ports) -> None:
        secret = request.rescue_password
        self.given.append(None if secret is None else secret.reveal())
        if self.error is not None:
            raise self.error


@pytest.fixture
def world() -> World:
    return scenes.world()


def kinds(rescuer: Rescuer) -> dict[str, Kind]:
    return {"rescue": Kind(request=Rescue, handler=rescuer)}


def ask(world: World, *, password: object = PASSWORD) -> Operation:
    @contextmanager
    def open_call() -> Iterator[Ports]:
        yield fakes.ports(world)

    dispatcher = Dispatcher(open_call, lambda _operation: None, operations=kinds(Rescuer()))
    arguments = {"operation_id": OPERATION, "instance_uuid": INSTANCE, "rescue_password": password}
    message = Message(method="rescue", arguments=arguments, version="1.0", request_id=None)
    return dispatcher.accept(message)


def run(world: World, rescuer: Rescuer) -> Operation:
    kept = fakes.ports(world).operations.get(OPERATION)
    carry_out(kept, kinds(rescuer), fakes.page(world, kept), AT_ONCE)
    return fakes.ports(world).operations.get(OPERATION)


def test_the_journal_has_it_sealed_and_shows_it_to_nobody(world: World) -> None:
    kept = ask(world)

    assert PASSWORD not in repr(kept)
    assert kept.public()["arguments"]["rescue_password"] == "(secret)"


def test_the_handler_gets_it_and_its_request_does_not_show_it(world: World) -> None:
    ask(world)
    rescuer = Rescuer()
    run(world, rescuer)

    assert rescuer.given == [PASSWORD]
    request = Rescue(instance_uuid=INSTANCE, rescue_password=Secret(PASSWORD))
    assert PASSWORD not in f"{request} {request!r} {asdict(request)}"


def test_it_may_be_left_out(world: World) -> None:
    ask(world, password=None)
    rescuer = Rescuer()
    run(world, rescuer)

    assert rescuer.given == [None]


@pytest.mark.parametrize("error", [None, HypervisorRefused("no")])
def test_it_is_blanked_at_the_end(world: World, error: Exception | None) -> None:
    ask(world)
    ended = run(world, Rescuer(error))

    assert ended.arguments["rescue_password"] == BLANK


def test_a_stuck_operation_keeps_it_for_its_retry_and_loses_it_when_abandoned(
    world: World,
) -> None:
    ask(world)
    assert run(world, Rescuer(LeftBehind("half-done"))).state is OperationState.STUCK
    fakes.ports(world).stuck.reopen(OPERATION)
    rescuer = Rescuer(LeftBehind("again"))
    run(world, rescuer)

    assert rescuer.given == [PASSWORD]
    abandoned = fakes.ports(world).stuck.abandon(OPERATION, None)
    assert abandoned.arguments["rescue_password"] == BLANK


def test_a_second_delivery_compares_equal_before_and_after_the_end(world: World) -> None:
    first = ask(world)
    assert ask(world) == first
    run(world, Rescuer())

    assert ask(world).state is OperationState.SUCCEEDED


def test_another_password_under_the_same_id_is_refused(world: World) -> None:
    ask(world)
    with pytest.raises(OperationConflict):
        ask(world, password="another")


def test_one_that_cannot_be_read_any_more_is_stuck_and_nothing_is_done(world: World) -> None:
    kept = ask(world)
    other = {"rescue_password": {"sealed": "sealed/for/another"}}
    world.operations[OPERATION] = replace(kept, arguments={**kept.arguments, **other})
    rescuer = Rescuer()
    ended = run(world, rescuer)

    assert (ended.state, rescuer.given) == (OperationState.STUCK, [])
    assert ended.fault is not None
    assert ended.fault.code == SecretLost.code


def test_what_hides_the_same_is_equal() -> None:
    assert Secret("a") == Secret("a")
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("a") != "a"
