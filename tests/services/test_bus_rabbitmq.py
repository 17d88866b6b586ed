"""The bus on a real RabbitMQ, on classic and on quorum queues."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import oslo_messaging
import pytest
from kombu.entity import Queue
from kombu.message import Message as KombuMessage
from kombu.messaging import Producer

from tests.bus_worker import (
    BusWorker,
    ListOutbox,
    close_stock_clients,
    dead_letters,
    envelope,
    eventually,
    fresh_name,
    stock_client,
)
from tests.services.intake_process import AFTER, BEFORE, NEVER, FileJournal
from tests.services_rabbitmq import RabbitMQ, private_rabbitmq
from tests.unit.scenes import INSTANCE, OPERATION, VOLUME
from worker.errors import BrokerUnavailable, Unavailable, WorkerUnreachable
from worker.model.ids import InstanceId, new_uuid
from worker.rpc.bus import BusSettings, messaging_conf
from worker.rpc.client import Client
from worker.rpc.hearing import Hearing
from worker.rpc.intake import Intake
from worker.rpc.link import LOOK, opened
from worker.rpc.topology import exchange, operations_queue, retained_updates
from worker.rpc.updates import Relay
from worker.rpc.wire import update_in

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("stock_clients_closed")]
stock_clients_closed = pytest.fixture(close_stock_clients)


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[RabbitMQ]:
    with private_rabbitmq() as broker:
        yield broker


@pytest.fixture(params=["classic", "quorum"])
def settings(rabbitmq: RabbitMQ, request: pytest.FixtureRequest) -> BusSettings:
    return BusSettings(
        url=rabbitmq.url,
        host="host-1",
        name=fresh_name(),
        quorum=request.param == "quorum",
        first_pause=0.1,
        longest_pause=0.5,
    )


@pytest.fixture
def worker(settings: BusSettings) -> Iterator[BusWorker]:
    with BusWorker(settings) as found:
        yield found


@contextlib.contextmanager
def listening(settings: BusSettings) -> Iterator[list[dict[str, Any]]]:
    """Lend what a stock oslo.messaging listener hears."""
    heard: list[dict[str, Any]] = []

    class Endpoint:
        def info(self, *notification: Any) -> None:  # noqa: ANN401
            _context, publisher, event, payload, metadata = notification
            heard.append({"publisher": publisher, "event": event, **payload, **metadata})

    conf = messaging_conf(settings.url, quorum=settings.replicated)
    transport = oslo_messaging.get_notification_transport(conf)
    listener = oslo_messaging.get_notification_listener(
        transport,
        [oslo_messaging.Target(topic=settings.updates_topic, exchange=settings.name)],
        [Endpoint()],
    )
    listener.start(override_pool_size=1)
    try:
        yield heard
    finally:
        listener.stop()
        listener.wait()
        # What is left open would look for its broker after the test, too.
        transport.cleanup()


def taken(settings: BusSettings, queue: Callable[[BusSettings], Any]) -> list[KombuMessage]:
    """Take all that is in a queue."""
    found: list[KombuMessage] = []
    with opened(settings, "test") as connection:
        bound = queue(settings)(connection.channel())
        bound.declare()
        while (message := bound.get(no_ack=True, accept=None)) is not None:
            found.append(message)
    return found


def test_reserve_and_attach_with_updates(worker: BusWorker) -> None:
    with worker.client() as client, client.updates() as hearing:
        device = client.reserve_block_device_name(
            "host-1", instance_uuid=INSTANCE, volume_id=VOLUME
        )
        sent = client.attach_volume("host-1", instance_uuid=INSTANCE, bdm_uuid=device["uuid"])
        assert client.wait_for("host-1", sent)["state"] == "succeeded"
        heard = [hearing.wait(5.0) for _ in range(3)]
    assert [update and update["event_type"] for update in heard] == [
        "block_device.reserved",
        "instance.volume_attach.start",
        "instance.volume_attach.end",
    ]


@pytest.mark.parametrize("dies", [BEFORE, AFTER])
def test_a_stock_cast_outlives_a_kill_before_its_acknowledgement(
    settings: BusSettings, tmp_path: Path, dies: str
) -> None:
    journal = tmp_path / "journal"
    ids = [new_uuid() for _ in range(10)]
    kind = "quorum" if settings.quorum else "classic"
    arguments = [settings.url, settings.name, kind, str(journal), dies]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.services.intake_process", *arguments]
    ) as process:
        declared(settings)
        client = stock_client(settings, settings.operations_topic)
        for each in ids:
            client.cast({}, "delete_volume", operation_id=each, volume_id=VOLUME)
        assert process.wait(30) == -9
    assert len(lines(journal)) == (1 if dies == AFTER else 0)
    intake = Intake(settings, FileJournal(journal, NEVER))
    with contextlib.ExitStack() as stack:
        stack.callback(intake.stop)
        intake.start()
        assert eventually(lambda: set(lines(journal)) == set(ids))
    assert list(dict.fromkeys(lines(journal))) == ids
    assert taken(settings, operations_queue) == []


def test_what_cannot_be_kept_does_not_keep_its_neighbours_out(settings: BusSettings) -> None:
    """Taken together or one by one: each in its order, the unreadable aside, and none twice."""
    ids = [new_uuid() for _ in range(100)]
    with BusWorker(settings):
        pass
    client = stock_client(settings, settings.operations_topic)
    for number, each in enumerate(ids):
        client.cast({}, "delete_volume", operation_id=each, volume_id=VOLUME)
        if number % 30 == 10:
            client.cast({}, "delete_volume", operation_id=each, volume_id=VOLUME)
            client.cast({}, "delete_volume", volume_id=VOLUME)
    with BusWorker(settings) as worker:
        assert eventually(lambda: len(worker.world.operations) == len(ids))
        assert worker.intake.backlog_taken.wait(5.0)
    assert list(worker.world.operations) == ids
    assert len(dead_letters(settings)) == 3
    assert taken(settings, operations_queue) == []


def declared(settings: BusSettings) -> None:
    """Wait until the other process has declared its queue and is bound to it."""
    client = Client(settings.url, quorum=settings.quorum, name=settings.name)
    with opened(settings, "test") as connection:
        queue = operations_queue(settings)(connection.channel())
        queue.declare()
        assert eventually(lambda: queue.queue_declare(passive=True).consumer_count > 0, 20)
    client.close()


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def test_a_stock_listener_hears_all_in_order_whoever_comes_first(settings: BusSettings) -> None:
    outbox = ListOutbox()
    relay = Relay(settings, outbox)
    with listening(settings) as early:
        relay.start()
        for number in range(150):
            outbox.add(number=number)
        assert eventually(lambda: len(early) == 150)
    with listening(settings) as late:
        for number in range(150, 200):
            outbox.add(number=number)
        assert eventually(lambda: len(late) == 50)
    assert relay.stop(5.0)
    assert [update["number"] for update in early + late] == list(range(200))
    assert early[0]["publisher"] == f"{settings.name}.host-1"
    assert early[0]["message_id"] == "message-1"


@pytest.mark.parametrize("settings", ["classic"], indirect=True)
def test_who_only_hears_is_not_taken_for_dead_while_updates_never_pause(
    settings: BusSettings,
) -> None:
    beating, outbox = replace(settings, heartbeat=1.0), ListOutbox()
    relay = Relay(settings, outbox)
    with Hearing(beating) as hearing:
        relay.start()
        # The broker closes what is silent for three heartbeats.
        for number in range(45):
            outbox.add(number=number)
            time.sleep(LOOK / 2)
        heard = [hearing.wait(5.0) for _ in range(45)]
    assert relay.stop(5.0)
    assert [update and update["payload"]["number"] for update in heard] == list(range(45))
    assert hearing.bindings == 1


def test_an_update_that_nobody_hears_is_retained_up_to_a_bound(settings: BusSettings) -> None:
    bounded = BusSettings(
        url=settings.url,
        host="host-1",
        name=settings.name,
        quorum=settings.quorum,
        retained_updates=5,
    )
    outbox = ListOutbox()
    for _ in range(20):
        outbox.add()
    relay = Relay(bounded, outbox)
    relay.start()
    assert eventually(lambda: len(outbox.done) == 20)
    assert relay.stop(5.0)
    kept = [
        update_in(message.body)["payload"]["sequence"]
        for message in taken(bounded, retained_updates)
    ]
    assert kept == [16, 17, 18, 19, 20]


@contextlib.contextmanager
def refusing(settings: BusSettings) -> Iterator[None]:
    """Have the broker take one update, and refuse each that follows, until the end."""
    with opened(settings, "test") as connection:
        full = Queue(
            f"{settings.name}.full",
            exchange(settings),
            routing_key=settings.updates_key,
            queue_arguments={"x-max-length": 1, "x-overflow": "reject-publish"},
        )(connection.channel())
        full.declare()
        yield
        full.delete()


def test_what_the_broker_refuses_is_sent_again_before_what_follows(settings: BusSettings) -> None:
    outbox = ListOutbox()
    for _ in range(3):
        outbox.add()
    relay = Relay(settings, outbox)
    told: list[int] = []

    def hear() -> list[int]:
        bodies = [message.body for message in taken(settings, retained_updates)]
        told.extend(update_in(body)["payload"]["sequence"] for body in bodies)
        return told

    with refusing(settings):
        relay.start()
        assert eventually(lambda: hear().count(2) >= 2)
        assert 3 not in told
    assert eventually(lambda: outbox.done == {1, 2, 3})
    assert relay.stop(5.0)
    assert list(dict.fromkeys(hear())) == [1, 2, 3]


def test_what_the_broker_took_beside_one_that_it_refused_is_told_once(
    settings: BusSettings,
) -> None:
    outbox = ListOutbox()
    for instance in ("one", "other"):
        outbox.add(instance=InstanceId(instance))
    relay = Relay(settings, outbox)
    told: Counter[int] = Counter()

    def hear() -> Counter[int]:
        bodies = [message.body for message in taken(settings, retained_updates)]
        told.update(update_in(body)["payload"]["sequence"] for body in bodies)
        return told

    with refusing(settings):
        relay.start()
        assert eventually(lambda: hear()[2] >= 2)
    assert eventually(lambda: outbox.done == {1, 2})
    assert relay.stop(5.0)
    assert hear()[1] == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("nonsense", "the message is no JSON"),
        (envelope(method="attach_volume", args={}), "operation_id is missing"),
        (envelope(args={}), "the message names no method"),
    ],
)
def test_an_unreadable_message_is_kept_with_the_reason(
    worker: BusWorker, body: str, reason: str
) -> None:
    settings = worker.settings
    with opened(settings, "test") as connection:
        Producer(connection.channel(), exchange=exchange(settings)).publish(
            body,
            routing_key=settings.operations_queue,
            content_type="application/json",
            content_encoding="utf-8",
        )
    stock_client(settings, settings.operations_topic).cast(
        {}, "delete_volume", operation_id=OPERATION, volume_id=VOLUME
    )
    assert eventually(lambda: OPERATION in worker.world.operations)
    ((headers, kept),) = dead_letters(settings)
    assert headers["x-blockworker-reason"] == reason
    assert headers["x-blockworker-code"] == "request.malformed"
    assert json.loads(kept) if kept[0] == "{" else kept


# Classic queues count no deliveries.
@pytest.mark.parametrize("settings", ["quorum"], indirect=True)
def test_what_is_delivered_too_often_is_kept_too(settings: BusSettings) -> None:
    with BusWorker(settings):
        pass
    stock_client(settings, settings.operations_topic).cast({}, "x", operation_id=OPERATION)
    deliveries = 0
    with opened(settings, "test") as connection:
        queue = operations_queue(settings)(connection.channel())
        while (message := queue.get(accept=None)) is not None:
            deliveries += 1
            message.requeue()
    assert deliveries == settings.delivery_limit + 1
    ((headers, body),) = dead_letters(settings)
    assert headers["x-first-death-reason"] == "delivery_limit"
    assert OPERATION in body


def test_a_call_is_answered_with_code_and_message(worker: BusWorker) -> None:
    settings = worker.settings
    client = stock_client(settings, settings.name)
    newer = stock_client(settings, settings.name, version="1.99")
    answers = [client.call({}, "fly"), newer.call({}, "ping"), client.call({}, "get_instance")]
    assert [(each["error"]["code"], each["error"]["family"]) for each in answers] == [
        ("request.method_unknown", "invalid"),
        ("request.version_unsupported", "invalid"),
        ("request.malformed", "invalid"),
    ]
    assert answers[2]["error"]["message"] == "instance_uuid is missing"


def test_no_worker_is_found_out_within_two_seconds(settings: BusSettings) -> None:
    with Client(settings.url, quorum=settings.quorum, name=settings.name) as client:
        begun = time.monotonic()
        with pytest.raises(WorkerUnreachable):
            client.delete_volume("host-1", volume_id=VOLUME)
        with BusWorker(settings):
            client.ping("host-1")
        stopped = time.monotonic()
        with pytest.raises(WorkerUnreachable):
            client.ping("host-1")
        assert time.monotonic() - stopped < 2.0 and stopped - begun < 20.0  # noqa: PT018


def test_no_broker_is_found_out_within_two_seconds() -> None:
    with Client("rabbit://guest:guest@127.0.0.1:1/") as client:
        begun = time.monotonic()
        with pytest.raises(BrokerUnavailable):
            client.ping("host-1")
        assert time.monotonic() - begun < 5.0


def test_a_worker_started_without_a_broker_serves_once_there_is_one(
    rabbitmq: RabbitMQ, settings: BusSettings
) -> None:
    rabbitmq.stop()
    with contextlib.ExitStack() as stack:
        try:
            worker = stack.enter_context(BusWorker(settings))
        finally:
            rabbitmq.start()
        assert worker.calls.serving.wait(10.0)
        client = stack.enter_context(worker.client())
        sent = client.delete_volume("host-1", volume_id=VOLUME)
        assert client.wait_for("host-1", sent)["state"] == "succeeded"


def test_a_broker_killed_in_mid_stream_loses_nothing(
    rabbitmq: RabbitMQ, settings: BusSettings, caplog: pytest.LogCaptureFixture
) -> None:
    ids, outbox = [new_uuid() for _ in range(300)], ListOutbox()
    worker = BusWorker(settings)
    worker.relay = Relay(settings, outbox)
    with worker, worker.client() as client:
        sender = threading.Thread(target=send_all, args=(client, ids, outbox))
        sender.start()
        assert eventually(lambda: len(worker.world.operations) > 100)
        rabbitmq.kill()
        rabbitmq.start()
        sender.join()
        assert eventually(lambda: len(worker.world.operations) == len(ids), 30)
        assert eventually(lambda: len(outbox.done) == len(ids), 30)
    assert list(worker.world.operations) == ids
    told = [
        update_in(message.body)["payload"]["sequence"]
        for message in taken(settings, retained_updates)
    ]
    assert list(dict.fromkeys(told)) == list(range(1, len(ids) + 1))
    for part in ("intake", "updates"):
        said = [each.message for each in caplog.records if each.message.startswith(f"{part}: ")]
        # Twice when it was reached while it was still starting, and let go of once more.
        assert len([text for text in said if "away" in text]) in (1, 2), said


def send_all(client: Client, ids: list[str], outbox: ListOutbox) -> None:
    for each in ids:
        outbox.add()
        while True:
            try:
                client.delete_volume("host-1", volume_id=VOLUME, operation_id=each)
            except Unavailable:
                time.sleep(0.1)
            else:
                break
