"""oslo.messaging's client, made to fail fast and in our words."""

import threading
import time
from collections.abc import Mapping
from typing import Any

from oslo_messaging import (
    ClientSendError,
    MessageDeliveryFailure,
    MessageUndeliverable,
    MessagingTimeout,
    RemoteError,
    Target,
    TransportOptions,
    get_rpc_client,
    get_rpc_transport,
)

from worker.errors import BrokerUnavailable, NoAnswer, WorkerError, WorkerUnreachable
from worker.rpc.answers import result_of
from worker.rpc.bus import BusSettings, messaging_conf
from worker.rpc.link import BROKER_ERRORS, opened
from worker.rpc.methods import VERSION

AWAY = (MessageDeliveryFailure, ClientSendError, *BROKER_ERRORS)

CLOSING = 2.0
"""Seconds after which a connection that will not close is left to itself."""

FRESH = 5.0
"""Seconds for which a worker that answered is taken to be there."""


class Caller:
    """Calls and casts to any host; may be shared by threads."""

    def __init__(self, settings: BusSettings, *, timeout: float, reach: float) -> None:
        """Wait ``timeout`` seconds for an answer, ``reach`` for a sign of life."""
        self._settings = settings
        self._timeout = timeout
        self._reach = reach
        self._seen: dict[str, float] = {}
        self._lock = threading.Lock()
        self._transport: Any = None

    def close(self) -> None:
        """Close the connections."""
        closing = self._retire(after=0.0)
        if closing is not None:
            closing.join(CLOSING)

    def call(
        self, host: str, method: str, arguments: Mapping[str, Any], request_id: str | None
    ) -> Any:  # noqa: ANN401 - whatever the method answers
        """Return the answer of a worker that has shown that it is there."""
        if method == "ping":
            return self._ping(host, request_id)
        self._ensure_there(host)
        return self._asked(host, method, arguments, request_id, self._timeout)

    def cast(
        self, host: str, method: str, arguments: Mapping[str, Any], request_id: str | None
    ) -> None:
        """Send to a worker that has shown that it is there; confirmed where the bus can."""
        self._ensure_there(host)
        try:
            bound = self._client(self._settings.operations_topic).prepare(server=host, retry=1)
            bound.cast(_context(request_id), method, **arguments)
        except MessageUndeliverable as error:
            raise self._gone(host) from error
        except AWAY as error:
            raise self._broker_gone() from error

    def _ensure_there(self, host: str) -> None:
        if self._seen.get(host, 0.0) < time.monotonic():
            self._ping(host, None)

    def _ping(self, host: str, request_id: str | None) -> Any:  # noqa: ANN401
        try:
            found = self._asked(host, "ping", {}, request_id, self._reach)
        except NoAnswer as error:
            raise self._gone(host) from error
        self._seen[host] = time.monotonic() + FRESH
        return found

    def _asked(
        self,
        host: str,
        method: str,
        arguments: Mapping[str, Any],
        request_id: str | None,
        timeout: float,
    ) -> Any:  # noqa: ANN401
        try:
            bound = self._client(self._settings.name).prepare(server=host, retry=1, timeout=timeout)
            answer = bound.call(_context(request_id), method, **arguments)
        except MessageUndeliverable as error:
            raise self._gone(host) from error
        except MessagingTimeout as error:
            message = f"the worker on {host} did not answer {method} within {timeout} s"
            raise NoAnswer(message) from error
        except AWAY as error:
            raise self._broker_gone() from error
        except RemoteError as error:
            raise WorkerError(f"the worker on {host} failed") from error
        return result_of(answer)

    def _client(self, topic: str) -> Any:  # noqa: ANN401 - oslo.messaging has no types
        with self._lock:
            if self._transport is None:
                # oslo.messaging would wait for a broker for ever.
                with opened(self._settings, "client"):
                    conf = messaging_conf(self._settings.url, quorum=self._settings.replicated)
                    self._transport = get_rpc_transport(conf)
        return get_rpc_client(
            self._transport,
            Target(exchange=self._settings.name, topic=topic, version=VERSION),
            transport_options=TransportOptions(at_least_once=True),
        )

    def _gone(self, host: str) -> WorkerUnreachable:
        if self._seen.pop(host, None) is not None:
            # It answered before. Perhaps it still does, and the queue for our answers is dead: a
            # broker back from a crash may take a minute to say so.
            self._retire(after=self._timeout)
        return WorkerUnreachable(f"no worker listens on {host}")

    def _broker_gone(self) -> BrokerUnavailable:
        """Start anew with the next request: what is left of the connections may hang."""
        self._seen.clear()
        self._retire(after=self._timeout)
        return BrokerUnavailable("the message broker does not answer")

    def _retire(self, *, after: float) -> threading.Thread | None:
        """Have the next request make new connections; close these beside the caller, in time.

        Other threads may still wait on them for an answer.
        """
        with self._lock:
            transport, self._transport = self._transport, None
        if transport is None:
            return None
        closing = threading.Timer(after, transport.cleanup)
        closing.daemon = True
        closing.start()
        return closing


def _context(request_id: str | None) -> dict[str, str]:
    return {} if request_id is None else {"request_id": request_id}
