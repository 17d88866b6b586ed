"""Streams of updates, while a real broker is killed and comes back."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.api_rig import ApiRig, api_rig
from tests.contract.api.served import Event, Listener, served
from tests.services_rabbitmq import RabbitMQ, private_rabbitmq
from worker.model import update
from worker.model.ids import InstanceId
from worker.persistence.repositories import Repositories
from worker.wiring.core import SystemClock


@pytest.fixture
def rabbitmq() -> Iterator[RabbitMQ]:
    with private_rabbitmq() as broker:
        yield broker


def tell(rig: ApiRig, instance: InstanceId) -> None:
    """Write an update as a worker does: no message is needed for it."""
    call = Repositories(rig.database, rig.host, SystemClock()).for_call()
    call.updates.tell(update.Update(event=update.Event.POWER, instance=instance))
    call.unit.commit()


def spoken(listener: Listener) -> Iterator[Event]:
    """Yield what is told and said, but that all is quiet."""
    return (event for event in listener if event.comment != "still here")


def test_a_broker_that_is_killed_leaves_no_hole_in_a_stream(
    rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    with api_rig(tmp_path, transport_url=rabbitmq.url) as rig, served(rig) as site:
        server = rig.server()
        with site.listen(f"/updates?instance_uuid={server}") as listener:
            next(listener)
            tell(rig, server)
            (first,) = islice(listener.updates(), 1)
            rabbitmq.kill()
            for _ in range(2):
                tell(rig, server)
            events = [first, *islice(spoken(listener), 3)]
            rabbitmq.start()
            tell(rig, server)
            events += islice(spoken(listener), 2)
    told = [event.number for event in events if event.name]
    assert told == list(range(first.number, first.number + 4))
    said = [event.comment for event in events if event.comment]
    assert ["away" in each for each in said] == [True, False], said
