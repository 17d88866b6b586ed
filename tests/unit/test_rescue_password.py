"""A rescue password: what is none, and where there is nothing to put it on."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit import rescue_scenes
from tests.unit.rescue_runs import CONFIG, carry_out, refused
from tests.unit.rescue_scenes import PASSWORD, PLAIN_IMAGE, USB_IMAGE, asked
from tests.unit.scenes import INSTANCE, OPERATION
from worker.errors import NotRescuable, RequestMalformed
from worker.model.ids import ImageId
from worker.model.operation import OperationState
from worker.model.secret import LONGEST
from worker.ports import Ports
from worker.rpc.dispatch import Dispatcher
from worker.rpc.wire import Message


def accept(world: World, password: str) -> OperationState:
    @contextmanager
    def open_call() -> Iterator[Ports]:
        yield fakes.ports(world)

    arguments = {
        "operation_id": OPERATION,
        "instance_uuid": INSTANCE,
        "rescue_password": password,
    }
    message = Message(method="rescue_instance", arguments=arguments, version="1.0", request_id=None)
    return Dispatcher(open_call, lambda _operation: None).accept(message).state


@pytest.mark.parametrize(
    "password",
    [
        "",
        "\n",
        f"{PASSWORD}\n",
        f"{PASSWORD}\r",
        f"{PASSWORD}\t{PASSWORD}",
        f"\x1b{PASSWORD}",
        f"{PASSWORD}\x7f",
        f"{PASSWORD}\x85",
        f"{PASSWORD}\u2028",
        PASSWORD + "a" * LONGEST,
        PASSWORD + "é" * (LONGEST // 2),
    ],
)
def test_what_is_no_password_is_refused_before_anything(password: str) -> None:
    world = rescue_scenes.built()
    with pytest.raises(RequestMalformed, match=r"^rescue_password is no password") as error:
        accept(world, password)
    assert PASSWORD not in str(error.value)
    assert OPERATION not in world.operations


@pytest.mark.parametrize("password", ["a", " ", "gül und ключ €", "a" * LONGEST])
def test_any_other_line_is_one(password: str) -> None:
    assert accept(rescue_scenes.built(), password) is OperationState.QUEUED


def without_drive(*, runs_with_it: bool) -> World:
    """Other hands have taken the config drive out of the domain."""
    world = rescue_scenes.built()
    guest = world.guests[INSTANCE]
    del guest.persistent[CONFIG]
    if not runs_with_it:
        del guest.live[CONFIG]
    return world


@pytest.mark.parametrize("image", [USB_IMAGE, PLAIN_IMAGE], ids=["stable", "legacy"])
@pytest.mark.parametrize("runs_with_it", [True, False])
def test_without_the_drive_in_its_domain_nobody_would_be_told(
    image: ImageId, *, runs_with_it: bool
) -> None:
    world = without_drive(runs_with_it=runs_with_it)
    message = refused(world, asked(image, password=PASSWORD), NotRescuable)
    assert "config drive" in message
    assert PASSWORD not in message


def test_without_a_password_it_is_rescued_all_the_same() -> None:
    carry_out(without_drive(runs_with_it=False), asked())
