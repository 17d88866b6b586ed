"""The bus within one process: the same contract on both buses that need no broker."""

import inspect
import threading
import time
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from datetime import UTC, datetime
from typing import Any

import oslo_messaging
import pytest

from tests.bus_worker import (
    BusWorker,
    close_stock_clients,
    dead_letters,
    eventually,
    fresh_name,
    stock_client,
)
from tests.unit.scenes import DEVICE, INSTANCE, OPERATION, OTHER_DEVICE, OTHER_VOLUME, VOLUME
from worker.errors import (
    DeviceNameTaken,
    InstanceNotFound,
    MethodUnknown,
    RequestMalformed,
    WorkerUnreachable,
)
from worker.model.ids import OperationId, new_uuid
from worker.rpc.bus import FAKE, BusSettings, messaging_conf
from worker.rpc.client import Client, Sending
from worker.rpc.client.instances import Building
from worker.rpc.methods import CALLS, OPERATIONS
from worker.rpc.wire import Message

MEMORY_URL = "kombu+memory://"
FAKE_URL = "fake:/"


pytestmark = pytest.mark.usefixtures("stock_clients_closed")
stock_clients_closed = pytest.fixture(close_stock_clients)


def settings_for(url: str) -> BusSettings:
    return BusSettings(url=url, host="host-1", name=fresh_name(), first_pause=0.01)


@pytest.fixture(params=[MEMORY_URL, FAKE_URL])
def worker(request: pytest.FixtureRequest) -> Iterator[BusWorker]:
    with BusWorker(settings_for(request.param)) as found:
        yield found


@pytest.fixture
def memory_worker() -> Iterator[BusWorker]:
    with BusWorker(settings_for(MEMORY_URL)) as found:
        yield found


def test_reserve_attach_detach_and_every_update_heard_by_each(worker: BusWorker) -> None:
    with worker.client() as client, client.updates() as first, client.updates() as second:
        device = client.reserve_block_device_name(
            "host-1", instance_uuid=INSTANCE, volume_id=VOLUME
        )
        attach = client.attach_volume("host-1", instance_uuid=INSTANCE, bdm_uuid=device["uuid"])
        assert client.wait_for("host-1", attach)["state"] == "succeeded"
        detach = client.detach_volume("host-1", instance_uuid=INSTANCE, volume_id=VOLUME)
        assert client.wait_for("host-1", detach)["state"] == "succeeded"
        for hearing in (first, second):
            heard = [hearing.wait(5.0) for _ in range(5)]
            assert [update and update["event_type"] for update in heard] == [
                "block_device.reserved",
                "instance.volume_attach.start",
                "instance.volume_attach.end",
                "instance.volume_detach.start",
                "instance.volume_detach.end",
            ]


def test_an_operation_may_be_called_and_is_answered_as_accepted(worker: BusWorker) -> None:
    with worker.client() as client:
        answer = client.call(
            "host-1", "delete_volume", operation_id=OPERATION, volume_id=new_uuid()
        )
        assert answer["operation_id"] == OPERATION
        assert client.wait_for("host-1", OPERATION)["method"] == "delete_volume"


def test_errors_come_back_as_what_they_are(worker: BusWorker) -> None:
    with worker.client() as client:
        wanted = {"instance_uuid": INSTANCE, "volume_id": VOLUME, "device": "/dev/vdb"}
        client.call("host-1", "reserve_block_device_name", **wanted)
        with pytest.raises(DeviceNameTaken):
            client.call(
                "host-1", "reserve_block_device_name", **(wanted | {"volume_id": OTHER_VOLUME})
            )
        with pytest.raises(InstanceNotFound):
            client.get_instance("host-1", instance_uuid=new_uuid())
        with pytest.raises(MethodUnknown):
            client.call("host-1", "fly")
        with pytest.raises(RequestMalformed, match="instance_uuid is missing"):
            client.call("host-1", "get_instance")


@pytest.mark.parametrize("method", ["__init__", "_serve", "serve", "dispatch", "sync_power_state"])
def test_only_the_table_is_exposed(worker: BusWorker, method: str) -> None:
    answer = stock_client(worker.settings, worker.settings.name).call({}, method)
    assert answer["error"]["code"] == MethodUnknown.code


def test_a_version_too_new_is_answered_not_raised(worker: BusWorker) -> None:
    client = stock_client(worker.settings, worker.settings.name, version="1.99")
    assert client.call({}, "ping")["error"]["code"] == "request.version_unsupported"


def test_no_worker_is_found_out_long_before_an_answer_would_be_late(worker: BusWorker) -> None:
    with worker.client() as client:
        for ask in (
            lambda: client.list_instances("nowhere"),
            lambda: client.delete_volume("nowhere", volume_id=VOLUME),
        ):
            begun = time.monotonic()
            with pytest.raises(WorkerUnreachable):
                ask()
            assert time.monotonic() - begun < 5.0


def test_a_stock_cast_is_taken_and_a_refused_one_is_told(worker: BusWorker) -> None:
    client = stock_client(worker.settings, worker.settings.operations_topic)
    with worker.client() as ours, ours.updates() as hearing:
        client.cast({"request_id": "req-1", "auth_token": "s3cret"}, "fly", operation_id=OPERATION)
        update = hearing.wait(5.0)
        assert update is not None
        assert update["event_type"] == "operation.refused"
        assert update["payload"]["fault"] == MethodUnknown.code
        client.cast({}, "delete_volume", operation_id=OPERATION, volume_id=VOLUME)
        assert eventually(lambda: OPERATION in worker.world.operations)


def test_a_stock_listener_reads_the_updates(worker: BusWorker) -> None:
    heard: list[tuple[str, str]] = []
    arrived = threading.Event()

    class Endpoint:
        def info(
            self,
            _context: object,
            publisher: str,
            event: str,
            payload: dict[str, Any],
            _metadata: object,
        ) -> None:
            assert payload["sequence"] == 1
            heard.append((publisher, event))
            arrived.set()

    settings = worker.settings
    listener = oslo_messaging.get_notification_listener(
        oslo_messaging.get_notification_transport(
            messaging_conf(settings.url, quorum=settings.replicated)
        ),
        [oslo_messaging.Target(topic=settings.updates_topic, exchange=settings.name)],
        [Endpoint()],
    )
    listener.start()
    try:
        with worker.client() as client:
            client.reserve_block_device_name("host-1", instance_uuid=INSTANCE, volume_id=VOLUME)
            assert arrived.wait(5.0)
    finally:
        listener.stop()
        listener.wait()
    assert heard == [(f"{settings.name}.host-1", "block_device.reserved")]


def test_operations_wait_for_the_journal_and_keep_their_order(worker: BusWorker) -> None:
    ids = [OperationId(new_uuid()) for _ in range(20)]
    with worker.client() as client:
        client.ping("host-1")
        worker.failures = 3
        for each in ids:
            client.delete_volume("host-1", volume_id=VOLUME, operation_id=each)
        assert eventually(lambda: len(worker.world.operations) == len(ids))
    assert list(worker.world.operations) == ids


def test_a_reservation_without_an_answer_is_asked_again_and_not_doubled(
    worker: BusWorker,
) -> None:
    serve, slow = worker.dispatcher.serve, iter([True])

    def late(message: Message) -> Any:  # noqa: ANN401
        answer = serve(message)
        if message.method != "ping" and next(slow, False):
            time.sleep(1.0)
        return answer

    worker.dispatcher.serve = late  # type: ignore[method-assign]
    with worker.client(timeout=0.5) as client:
        device = client.reserve_block_device_name(
            "host-1", instance_uuid=INSTANCE, volume_id=VOLUME
        )
    assert list(worker.world.rows) == [device["uuid"]]


def test_an_expiry_and_a_request_id_travel(worker: BusWorker) -> None:
    at = datetime(2030, 1, 1, tzinfo=UTC)
    with worker.client() as client:
        sent = client.delete_volume("host-1", volume_id=VOLUME, expires_at=at, request_id="req-9")
        kept = client.wait_for("host-1", sent)
    assert (kept["expires_at"], kept["request_id"]) == (at.isoformat(), "req-9")


def test_an_unreadable_message_is_kept_with_the_reason(memory_worker: BusWorker) -> None:
    settings = memory_worker.settings
    client = stock_client(settings, settings.operations_topic)
    client.cast({"auth_token": "s3cret"}, "attach_volume", bdm_uuid=DEVICE)
    client.cast({}, "delete_volume", operation_id=OPERATION, volume_id=VOLUME)
    assert eventually(lambda: OPERATION in memory_worker.world.operations)
    ((headers, body),) = dead_letters(settings)
    assert headers["x-blockworker-code"] == "request.malformed"
    assert headers["x-blockworker-reason"] == "operation_id is missing"
    assert DEVICE in body
    assert "s3cret" not in body


def test_the_backlog_is_taken_when_what_was_queued_at_start_is_in_the_journal() -> None:
    settings = settings_for(MEMORY_URL)
    with BusWorker(settings):
        pass
    worker = BusWorker(settings)
    client = stock_client(settings, settings.operations_topic)
    worker.failures = 1000
    for volume in (VOLUME, OTHER_VOLUME):
        client.cast({}, "delete_volume", operation_id=new_uuid(), volume_id=volume)
    with worker:
        assert not worker.intake.backlog_taken.wait(0.3)
        worker.failures = 0
        assert worker.intake.backlog_taken.wait(5.0)
        assert len(worker.world.operations) == 2


def test_an_empty_backlog_is_taken_at_once(worker: BusWorker) -> None:
    assert worker.intake.backlog_taken.wait(5.0)


def own_only() -> set[str]:
    return {name for name, kind in OPERATIONS.items() if kind.own_only}


@pytest.mark.parametrize("method", sorted(({*CALLS, *OPERATIONS}) - own_only()))
def test_the_client_has_each_method_with_its_arguments(method: str) -> None:
    asked = CALLS[method].request if method in CALLS else OPERATIONS[method].request
    offered = inspect.signature(getattr(Client, method)).parameters
    shared = {"self", "host", "sending", "building", *Sending.__annotations__}
    ours = {name: each.default for name, each in offered.items() if name not in shared}
    if method in CALLS and "operation_id" in offered:
        ours["operation_id"] = inspect.Parameter.empty
    wanted = {field.name: _default(field) for field in fields(asked)}
    if "building" in offered:
        # What is left out is not sent: the default is the worker's.
        optional = Building.__annotations__.keys() - Sending.__annotations__.keys()
        ours |= {name: wanted[name] for name in optional}
    assert ours == wanted
    assert bool(offered.keys() & {"sending", "building"}) == (method in OPERATIONS)


def _default(field: Field[Any]) -> object:
    """An empty collection is nothing, in a signature."""
    if field.default_factory is not MISSING:
        return None
    return inspect.Parameter.empty if field.default is MISSING else field.default


def test_nothing_of_a_stopped_worker_is_left() -> None:
    before = set(threading.enumerate())
    for url in (MEMORY_URL, FAKE_URL):
        with BusWorker(settings_for(url)) as worker, worker.client() as client:
            client.reserve_block_device_name(
                "host-1", instance_uuid=INSTANCE, volume_id=VOLUME, bdm_uuid=OTHER_DEVICE
            )
            assert worker.settings.in_process in (FAKE, "kombu+memory")
    assert eventually(lambda: set(threading.enumerate()) <= before)
