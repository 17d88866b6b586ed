"""How operations are sent and updates are heard: beside a bus in the worker, or over a broker."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import RowMapping

from tests.processes import Json, Served
from tests.services_rabbitmq import private_rabbitmq
from worker.errors import WorkerUnreachable
from worker.rpc.client import Client
from worker.rpc.hearing import Hearing

MEMORY = "kombu+memory://localhost/"

HEARD_WITHIN = 60.0
SENT_WITHIN = 60.0
ANSWER_WITHIN = 4.0
"""Seconds after which a call is asked again: its worker was killed, and the question with it."""


class Bus(ABC):
    """One bus; ``url`` is the worker's transport URL."""

    url: str

    @abstractmethod
    def send(
        self, served: Served, host: str, method: str, operation: str, arguments: dict[str, Any]
    ) -> None:
        """Ask the worker of that host for an operation; it may die of it."""

    @abstractmethod
    def differences(self, told: Callable[[], Sequence[RowMapping]]) -> list[str]:
        """Compare what was heard of one instance with its updates in the outbox, all of them.

        ``told`` reads these; more may come meanwhile.
        """


class InWorker(Bus):
    """The bus inside the worker, which dies with it: who sends uses the local socket instead.

    What is told on it nobody else hears.
    """

    url = MEMORY

    def send(
        self, served: Served, host: str, method: str, operation: str, arguments: dict[str, Any]
    ) -> None:
        with suppress(WorkerUnreachable):
            served.client.call(method, operation_id=operation, **arguments)

    def differences(self, told: Callable[[], Sequence[RowMapping]]) -> list[str]:
        return []


class Broker(Bus):
    """RabbitMQ: operations are cast as an API tier does, updates heard on a queue of our own."""

    def __init__(self, url: str, client: Client) -> None:
        self.url = url
        self.client = client
        self._heard: list[Json] = []
        self._changed = threading.Condition()

    def send(
        self, served: Served, host: str, method: str, operation: str, arguments: dict[str, Any]
    ) -> None:
        deadline = time.monotonic() + SENT_WITHIN
        while True:
            try:
                self.client.cast(host, method, operation_id=operation, **arguments)
                return
            except WorkerUnreachable:
                # Nothing was sent: the worker is on its way up, or on its way down.
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def listen(self, hearing: Hearing, stopping: threading.Event) -> None:
        """Keep what is heard, in its order."""
        while not stopping.is_set():
            update = hearing.wait(0.2)
            if update is not None:
                with self._changed:
                    self._heard.append(update)
                    self._changed.notify_all()

    def heard(self) -> list[Json]:
        """Return what was heard so far."""
        with self._changed:
            return list(self._heard)

    def differences(self, told: Callable[[], Sequence[RowMapping]]) -> list[str]:
        rows = told()
        heard = self._heard_of(rows)
        # The guest may have done something meanwhile, and have been followed.
        while len(later := told()) > len(rows):
            rows = later
            heard = self._heard_of(rows)
        wanted = {row["message_id"]: _said(row["event"], row["payload"]) for row in rows}
        return compare(wanted, heard)

    def _heard_of(self, rows: Sequence[RowMapping]) -> list[Json]:
        """Return what was heard of their instances, once they were heard themselves or are late."""
        wanted = {row["message_id"] for row in rows}
        with self._changed:
            self._changed.wait_for(lambda: wanted <= self._ids(), HEARD_WITHIN)
            heard = list(self._heard)
        instances = {row["instance_uuid"] for row in rows}
        return [each for each in heard if _instance(each) in instances]

    def _ids(self) -> set[str]:
        return {update["message_id"] for update in self._heard}


def compare(wanted: dict[str, Json], heard: Sequence[Json]) -> list[str]:
    """Compare by id, in order; a copy that comes again must be the same."""
    first: dict[str, Json] = {}
    found = []
    for update in heard:
        said = _said(update["event_type"], update["payload"])
        if first.setdefault(update["message_id"], said) != said:
            found.append(f"heard: a copy that differs: {said}, not {first[update['message_id']]}")
    missed = [said for id_, said in wanted.items() if id_ not in first]
    alien = [said for id_, said in first.items() if id_ not in wanted]
    found += [f"heard: not {_named(said)}" for said in missed]
    found += [f"heard: {_named(said)}, which the outbox does not have" for said in alien]
    if not found and list(first.values()) != list(wanted.values()):
        found.append(f"heard: out of order: {[each['sequence'] for each in first.values()]}")
    return found


def _said(event: str, payload: Json) -> Json:
    return {"event": str(event), **payload}


def _named(said: Json) -> str:
    return f"{said['event']} {said['sequence']} of {said['operation_id']}"


def _instance(update: Json) -> str | None:
    found = update["payload"]["instance_uuid"]
    return None if found is None else str(found)


@contextmanager
def broker() -> Iterator[Broker]:
    """Lend a private RabbitMQ, and an ear that is on it."""
    with (
        private_rabbitmq() as rabbitmq,
        Client(rabbitmq.url, timeout=ANSWER_WITHIN) as client,
        client.updates() as hearing,
    ):
        found, stopping = Broker(rabbitmq.url, client), threading.Event()
        listener = threading.Thread(target=found.listen, args=(hearing, stopping))
        listener.start()
        try:
            yield found
        finally:
            stopping.set()
            listener.join()
