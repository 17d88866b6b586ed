"""RabbitMQ goes away in mid-operation, stopped or killed, and comes back."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from tests import guests
from tests.bus_worker import eventually
from tests.chaos.stage import Case
from tests.guests import GuestMaker
from tests.outages import Ground, Hold, Side, ground, insist, without_copies
from tests.rig import SOON, Json, running
from tests.services.test_bus_rabbitmq import taken
from tests.services_rabbitmq import RabbitMQ, private_rabbitmq
from worker.model.ids import new_uuid
from worker.model.operation import OperationState
from worker.persistence.engine import make_engine
from worker.persistence.schema import UPDATES
from worker.rpc.bus import BusSettings
from worker.rpc.local import LocalClient
from worker.rpc.topology import retained_updates
from worker.rpc.wire import update_in

pytestmark = pytest.mark.timeout(240)

HOST = "host-1"

End = Callable[[RabbitMQ], None]


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[RabbitMQ]:
    with private_rabbitmq() as broker:
        yield broker


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outage") / "state"


@pytest.fixture(scope="module")
def make_guest(libvirtd: str, state: Path) -> Iterator[GuestMaker]:
    with guests.guest_maker(libvirtd, guests.cached_guest_image(), state.parent) as maker:
        yield maker


@pytest.fixture(scope="module")
def played(
    rabbitmq: RabbitMQ, libvirtd: str, state: Path, make_guest: GuestMaker
) -> Iterator[Ground]:
    hold = Hold()
    with running(state, libvirtd, bus=rabbitmq.url, host=HOST, watches=(hold,)) as rig:
        engine = make_engine(f"sqlite:///{state / 'blockworker.sqlite'}")
        yield ground(rig, hold, make_guest, engine, state)
        engine.dispose()


@pytest.fixture(scope="module")
def told() -> list[Json]:
    """What the broker was told so far, copies included."""
    return []


@pytest.mark.parametrize(
    ("step", "end"),
    [
        (("attach_volume", "attachments.complete"), RabbitMQ.freeze),
        (("detach_volume", "disks.unplug"), RabbitMQ.stop),
    ],
    ids=["attach, frozen and killed", "detach, stopped"],
)
def test_operations_go_on_without_it_and_are_told_of_later(
    rabbitmq: RabbitMQ, played: Ground, told: list[Json], step: tuple[str, str], end: End
) -> None:
    method, call = step
    case = played.prepared(method)
    other = replace(played, guest=played.stage.make_guest(booted=False))
    played.rig.call("adopt_instance", domain=other.guest.uuid)
    beside = replace(other.reserved(), running=False)
    with played.hold.at(call, Side.BEFORE) as held:
        operation = played.begin(method, case)
        held.wait()
        end(rabbitmq)
    try:
        ends = [ended(played, operation), attached_by_socket(played, beside)]
        assert {each["operation_id"] for each in ends} <= unpublished(played)
    finally:
        # One that took no more notice takes with it what was sent to it since.
        rabbitmq.kill()
        rabbitmq.start()
    assert eventually(lambda: not unpublished(played), SOON)
    played.check_kept(case, ends[0], attached=method == "attach_volume")
    other.check_kept(beside, ends[1], attached=True)
    check_told(rabbitmq, told, played)
    # By then calls and casts are heard again, too.
    insist(lambda: played.rig.call("ping"))
    played.clear(case)
    other.clear(beside)


def attached_by_socket(played: Ground, case: Case) -> Json:
    """Attach another instance's volume as an operator does on the host itself."""
    operation, instance = new_uuid(), case.guest.uuid
    socket(played).call(
        "attach_volume", operation_id=operation, instance_uuid=instance, bdm_uuid=case.row["uuid"]
    )
    return ended(played, operation)


def ended(played: Ground, operation: str) -> Json:
    """Return the operation when it has succeeded, without a broker."""

    def is_over() -> bool:
        found.update(socket(played).call("get_operation", operation_id=operation))
        return OperationState(found["state"]).ended

    found: Json = {}
    assert eventually(is_over, SOON), found
    assert found["state"] == "succeeded", found
    return found


def socket(played: Ground) -> LocalClient:
    return LocalClient(played.stage.folder / "control.sock")


def unpublished(played: Ground) -> set[str]:
    """Return the operations with an update that the broker has not confirmed."""
    waiting = select(UPDATES.c.payload).where(UPDATES.c.published_at.is_(None))
    with played.stage.engine.connect() as connection:
        return {payload["operation_id"] for payload in connection.execute(waiting).scalars()}


def check_told(rabbitmq: RabbitMQ, told: list[Json], played: Ground) -> None:
    """Nothing is missing from what the broker was told, and each instance's is in order."""
    settings = BusSettings(url=rabbitmq.url, host=HOST)
    told += [update_in(message.body) for message in taken(settings, retained_updates)]
    numbers = defaultdict(list)
    for payload in (update["payload"] for update in without_copies(told)):
        numbers[payload["instance_uuid"]].append(payload["sequence"])
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values()), numbers
    with played.stage.engine.connect() as connection:
        written = set(connection.execute(select(UPDATES.c.message_id)).scalars())
    assert written == {update["message_id"] for update in told}
