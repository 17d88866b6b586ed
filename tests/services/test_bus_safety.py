"""What a broker says of the queue and the exchange that it has, as ``config check`` asks it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu.entity import Exchange, Queue

from tests.bus_worker import BusWorker, fresh_name
from tests.processes import blockworker
from tests.services_rabbitmq import RabbitMQ, private_rabbitmq
from worker.errors import BrokerUnavailable
from worker.rpc.bus import BusSettings
from worker.rpc.link import opened
from worker.rpc.safety import unsafe_on_broker
from worker.rpc.topology import operations_queue

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[RabbitMQ]:
    with private_rabbitmq() as broker:
        yield broker


@pytest.fixture
def settings(rabbitmq: RabbitMQ) -> BusSettings:
    return BusSettings(url=rabbitmq.url, host="host-1", name=fresh_name())


def make_queue(settings: BusSettings, *, durable: bool = True, **arguments: Any) -> None:  # noqa: ANN401
    """Make the operations queue as somebody else did; ``None`` leaves one of our arguments out."""
    ours: dict[str, Any] = operations_queue(settings).queue_arguments  # type: ignore[attr-defined]
    given = {name.replace("_", "-"): value for name, value in arguments.items()}
    kept = {name: value for name, value in (ours | given).items() if value is not None}
    with opened(settings, "test") as connection:
        queue = Queue(settings.operations_queue, durable=durable, queue_arguments=kept)
        queue(connection.channel()).queue_declare()


CLASSIC: dict[str, Any] = {
    "x_queue_type": "classic",
    "x_delivery_limit": None,
    "x_dead_letter_strategy": None,
}
UNBURIED: dict[str, Any] = {
    "x_dead_letter_exchange": None,
    "x_dead_letter_routing_key": None,
    "x_dead_letter_strategy": None,
}


@pytest.mark.parametrize(
    ("made", "word"),
    [
        (CLASSIC, "x-queue-type classic"),
        (CLASSIC | {"durable": False}, "durable false"),
        (UNBURIED, "x-dead-letter-exchange"),
        ({"x_delivery_limit": None}, "x-delivery-limit"),
        ({"x_delivery_limit": 3}, "x-delivery-limit 3"),
    ],
)
def test_a_queue_that_was_made_otherwise_is_named(
    settings: BusSettings, made: dict[str, Any], word: str
) -> None:
    make_queue(settings, **made)
    (found,) = unsafe_on_broker(settings)
    assert f"operations queue {settings.operations_queue}" in found.what
    assert word in found.what
    assert found.why != found.what
    assert "delete" in found.do


def test_an_exchange_that_does_not_outlive_the_broker_is_named(settings: BusSettings) -> None:
    with opened(settings, "test") as connection:
        Exchange(settings.name, type="topic", durable=False)(connection.channel()).declare()
    (found,) = unsafe_on_broker(settings)
    assert f"exchange {settings.name}" in found.what
    assert "durable false" in found.what


def test_what_a_worker_made_is_safe_and_looking_makes_nothing(settings: BusSettings) -> None:
    assert unsafe_on_broker(settings) == ()
    assert unsafe_on_broker(settings) == ()
    with opened(settings, "test") as connection, pytest.raises(connection.channel_errors):
        operations_queue(settings)(connection.channel()).queue_declare(passive=True)
    with BusWorker(settings):
        pass
    assert unsafe_on_broker(settings) == ()


def test_a_broker_that_is_away_is_an_error() -> None:
    with pytest.raises(BrokerUnavailable):
        unsafe_on_broker(BusSettings(url="rabbit://guest:guest@127.0.0.1:1/", host="h"))


def test_the_command_names_both_kinds_and_exits_3(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    named = BusSettings(url=rabbitmq.url, host="host-of-the-command")
    file = tmp_path / "worker.conf"
    file.write_text(f"[DEFAULT]\nhost = {named.host}\ntransport_url = {named.url}\n")
    check = ("config", "check", "--config-file", file)
    assert blockworker(*check, "--connect").returncode == 0
    make_queue(named, **CLASSIC)
    assert blockworker(*check).returncode == 0
    done = blockworker(*check, "--connect")
    assert (done.returncode, "x-queue-type classic" in done.stdout) == (3, True)
    with file.open("a") as config:
        config.write("[bus]\nquorum = false\n")
    (unsafe,) = json.loads(blockworker(*check, "--json").stdout)["unsafe"]
    assert "quorum is off" in unsafe["what"]
    assert set(unsafe) == {"what", "why", "do"}
