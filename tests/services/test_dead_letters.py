"""What could not be read, as an operator goes through it, on a real RabbitMQ."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu.messaging import Producer

from tests.bus_worker import BusWorker, dead_letters, envelope, eventually, fresh_name
from tests.processes import blockworker
from tests.services_rabbitmq import RabbitMQ, private_rabbitmq
from tests.unit.scenes import OPERATION, OTHER_VOLUME, VOLUME
from worker.errors import BrokerUnavailable, DeadLetterNotFound, Invalid
from worker.model.operation import Fault
from worker.rpc.bus import BusSettings
from worker.rpc.dead_letters import DeadLetterBox, DeadLetters
from worker.rpc.link import opened
from worker.rpc.topology import exchange, operations_queue

pytestmark = pytest.mark.timeout(120)

PASSWORD = "planted-password"
TOKEN = "planted-token"
FAULT = Fault(code="request.malformed", message="operation_id is missing")


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[RabbitMQ]:
    with private_rabbitmq() as broker:
        yield broker


@pytest.fixture(params=["classic", "quorum"])
def settings(rabbitmq: RabbitMQ, request: pytest.FixtureRequest) -> BusSettings:
    return BusSettings(
        url=rabbitmq.url, host="host-1", name=fresh_name(), quorum=request.param == "quorum"
    )


@pytest.fixture
def box(settings: BusSettings) -> DeadLetterBox:
    return DeadLetterBox(settings)


def put(settings: BusSettings, *bodies: str) -> None:
    with opened(settings, "test") as connection:
        letters = DeadLetters(connection, settings)
        for body in bodies:
            letters.put(body, FAULT)


def delete_volume(volume: str = VOLUME, **more: Any) -> str:  # noqa: ANN401
    arguments = {"operation_id": OPERATION, "volume_id": volume} | more
    return envelope(method="delete_volume", args=arguments, _context_auth_token=TOKEN)


def test_looking_leaves_all_as_it_was_however_often(
    settings: BusSettings, box: DeadLetterBox
) -> None:
    put(settings, delete_volume(), "nonsense", delete_volume(OTHER_VOLUME))

    first = box.list()

    assert [letter.position for letter in first] == [1, 2, 3]
    assert [letter.method for letter in first] == ["delete_volume", None, "delete_volume"]
    assert {(letter.code, letter.reason) for letter in first} == {(FAULT.code, FAULT.message)}
    for _ in range(25):
        assert box.list() == first
    assert [box.show(letter.id) for letter in first] == list(first)
    assert [box.show(str(number)) for number in (1, 2, 3)] == list(first)


def test_no_secret_is_shown_and_of_the_unreadable_not_a_word(
    settings: BusSettings, box: DeadLetterBox
) -> None:
    secrets: dict[str, Any] = {
        "rescue_password": PASSWORD,
        "nested": [{"auth_password": PASSWORD, "x_token": PASSWORD, "kept": 1}],
    }
    put(settings, delete_volume(**secrets), f"password={PASSWORD}")

    readable, unreadable = box.list()

    assert PASSWORD not in repr((readable, unreadable))
    assert TOKEN not in repr((readable, unreadable))
    assert readable.arguments == {
        "operation_id": OPERATION,
        "volume_id": VOLUME,
        "rescue_password": "***",
        "nested": [{"auth_password": "***", "x_token": "***", "kept": 1}],
    }
    assert (unreadable.method, unreadable.arguments) == (None, None)
    assert unreadable.size == len(f"password={PASSWORD}")


def test_what_is_replayed_is_carried_out_and_gone(
    settings: BusSettings, box: DeadLetterBox
) -> None:
    put(settings, "before", delete_volume(), "after")
    with BusWorker(settings) as worker:
        replayed = box.replay("2")
        assert replayed.method == "delete_volume"
        assert eventually(lambda: OPERATION in worker.world.operations)
    assert [body for _, body in dead_letters(settings)] == ["before", "after"]


def test_a_replay_waits_for_a_worker_that_never_ran(
    settings: BusSettings, box: DeadLetterBox
) -> None:
    put(settings, delete_volume())
    box.replay("1")
    assert box.list() == ()
    with BusWorker(settings) as worker:
        assert eventually(lambda: OPERATION in worker.world.operations)


def test_what_still_cannot_be_read_comes_back_with_its_reason(
    settings: BusSettings, box: DeadLetterBox
) -> None:
    put(settings, "nonsense")
    with BusWorker(settings):
        box.replay("1")
        assert eventually(lambda: len(box.list()) == 1)
    (letter,) = box.list()
    assert letter.reason == "the message is no JSON"


def test_one_is_dropped_and_the_others_stay_in_order(
    settings: BusSettings, box: DeadLetterBox
) -> None:
    put(settings, "one", "two", "three")
    box.drop(box.list()[1].id)
    assert [body for _, body in dead_letters(settings)] == ["one", "three"]


@pytest.mark.parametrize("which", ["0", "2", "no such id", "", "0" * 12])
def test_what_is_not_there_is_not_found_and_nothing_is_lost(
    settings: BusSettings, box: DeadLetterBox, which: str
) -> None:
    put(settings, "one")
    for verb in (box.show, box.replay, box.drop):
        with pytest.raises(DeadLetterNotFound, match="there are 1"):
            verb(which)
    assert len(box.list()) == 1


def test_what_the_broker_gave_up_says_so(settings: BusSettings, box: DeadLetterBox) -> None:
    with opened(settings, "test") as connection:
        channel = connection.channel()
        DeadLetters(connection, settings)
        queue = operations_queue(settings)(channel)
        queue.declare()
        Producer(channel, exchange=exchange(settings)).publish(
            delete_volume(), routing_key=settings.operations_queue, content_type="application/json"
        )
        assert eventually(lambda: (found := queue.get(accept=None)) and found.reject() is None)
    assert eventually(lambda: len(box.list()) == 1)
    (letter,) = box.list()
    assert (letter.reason, letter.code) == ("moved by the broker: rejected", None)
    assert letter.method == "delete_volume"
    assert TOKEN not in repr(letter)


def test_the_commands_do_all_of_it(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    named = BusSettings(url=rabbitmq.url, host="host-1", quorum=True)
    config = tmp_path / "worker.conf"
    config.write_text(f"[DEFAULT]\nhost = {named.host}\ntransport_url = {named.url}\n")
    put(named, delete_volume(rescue_password=PASSWORD), "nonsense")

    def command(*words: str) -> str:
        common = ("--config-file", str(config), "--state-path", str(tmp_path))
        done = blockworker("dead-letter", *words, *common)
        assert done.returncode == 0, done.stderr
        assert PASSWORD not in done.stdout
        return done.stdout

    first, second = json.loads(command("list", "--json"))
    assert command("list").count(FAULT.message) == 2
    assert "rescue_password" in command("show", "1")
    assert command("drop", second["id"]) == f"dead letter {second['id']} (unreadable) dropped\n"
    assert command("replay", "1") == f"dead letter {first['id']} (delete_volume) replayed\n"
    assert json.loads(command("list", "--json")) == []


def test_a_broker_that_is_away_is_said_so() -> None:
    nowhere = BusSettings(url="rabbit://guest:guest@127.0.0.1:1/", host="host-1")
    with pytest.raises(BrokerUnavailable):
        DeadLetterBox(nowhere).list()


@pytest.mark.parametrize("url", ["kombu+memory://localhost/", "fake:/"])
def test_a_bus_inside_a_process_has_none_to_show(url: str) -> None:
    with pytest.raises(Invalid, match="lives in the worker's process"):
        DeadLetterBox(BusSettings(url=url, host="host-1"))
