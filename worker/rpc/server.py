"""The RPC server: what oslo.messaging hears on the calls' topic goes to the dispatcher."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from oslo_messaging import Target, get_rpc_transport
from oslo_messaging.rpc.server import RPCServer

from worker.errors import RequestMalformed, Unavailable
from worker.model.operation import fault_of
from worker.rpc.answers import answer_of
from worker.rpc.bus import FAKE, BusSettings, messaging_conf
from worker.rpc.dispatch import Dispatcher
from worker.rpc.intake import Intake
from worker.rpc.link import BROKER_ERRORS, Outage, opened
from worker.rpc.wire import Message, message_in

LOG = logging.getLogger(__name__)


class CallServer:
    """Answers calls on this host's topic."""

    def __init__(self, settings: BusSettings, dispatcher: Dispatcher) -> None:
        """Give what is heard to the dispatcher."""
        self._settings = settings
        answering = _Answering(dispatcher)
        self._listener = _Listener(settings, settings.name, answering, threads=settings.threads)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="calls", daemon=True)
        self.serving = threading.Event()

    def start(self) -> None:
        """Begin; returns once it serves, or soon and keeps trying without a broker.

        ``serving`` is set when the broker has our queues.
        """
        self._thread.start()
        self.serving.wait(self._settings.start_patience)

    def stop(self, seconds: float = 10.0) -> None:
        """Hear no more calls, and end those that run."""
        self._stopping.set()
        self._thread.join(seconds)
        if self.serving.is_set():
            self._listener.stop(seconds)

    def _run(self) -> None:
        outage = Outage("calls", self._settings)
        while self._broker_found():
            try:
                self._listener.start()
            except Exception as error:  # noqa: BLE001 - a worker that hears no calls is worse
                self._stopping.wait(outage.goes_on(error))
            else:
                outage.over()
                self.serving.set()
                return

    def _broker_found(self) -> bool:
        """oslo.messaging's start cannot be stopped while it waits for a broker."""
        outage = Outage("calls: broker", self._settings)
        while not self._stopping.is_set():
            try:
                with opened(self._settings, "calls"):
                    outage.over()
                    return True
            except BROKER_ERRORS as error:
                self._stopping.wait(outage.goes_on(error))
        return False


class FakeIntake:
    """Takes operations on ``fake:/``, which has no acknowledgements to wait with."""

    def __init__(self, settings: BusSettings, dispatcher: Dispatcher) -> None:
        """Give what is heard to the dispatcher."""
        self._taking = _Taking(settings, dispatcher)
        # One thread, so that operations are taken in the order they were sent.
        self._listener = _Listener(settings, settings.operations_topic, self._taking, threads=1)
        self.backlog_taken = threading.Event()

    def start(self) -> None:
        """Begin to listen."""
        self._listener.start()
        self.backlog_taken.set()

    def stop(self, seconds: float = 10.0) -> bool:
        """Take no more."""
        self._taking.stopping.set()
        self._listener.stop(seconds)
        return True


def intake_for(settings: BusSettings, dispatcher: Dispatcher) -> Intake | FakeIntake:
    """Return the intake that this bus needs."""
    kind = FakeIntake if settings.in_process == FAKE else Intake
    return kind(settings, dispatcher)


class _Listener:
    """An oslo.messaging server whose dispatcher is ours: the table alone says what is exposed."""

    def __init__(
        self, settings: BusSettings, topic: str, dispatcher: object, *, threads: int
    ) -> None:
        self._settings = settings
        self._threads = threads
        self._target = Target(exchange=settings.name, topic=topic, server=settings.host)
        self._dispatcher = dispatcher
        self._close: Callable[[], None] = _nothing

    def start(self) -> None:
        conf = messaging_conf(self._settings.url, quorum=self._settings.replicated)
        transport = get_rpc_transport(conf)
        server = RPCServer(transport, self._target, self._dispatcher)
        server.start(override_pool_size=self._threads)
        self._close = lambda: _close(server, transport)

    def stop(self, seconds: float) -> None:
        """A listener whose broker has crashed may wait a minute for an answer; we do not."""
        closing = threading.Thread(target=self._close, daemon=True)
        closing.start()
        closing.join(seconds)


def _nothing() -> None:
    """Stop what never began."""


def _close(server: Any, transport: Any) -> None:  # noqa: ANN401 - oslo.messaging has no types
    server.stop()
    server.wait()
    transport.cleanup()


class _Answering:
    """An oslo.messaging dispatcher; answers everything, so that no exception crosses the bus."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def dispatch(self, incoming: Any) -> dict[str, Any]:  # noqa: ANN401
        return answer_of(lambda: self._dispatcher.serve(_message(incoming)))


class _Taking:
    """An oslo.messaging dispatcher that takes operations."""

    def __init__(self, settings: BusSettings, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._journal = Outage("intake: journal", settings)
        self.stopping = threading.Event()

    def dispatch(self, incoming: Any) -> None:  # noqa: ANN401
        while not self.stopping.is_set() and not self._taken(incoming):
            pass

    def _taken(self, incoming: Any) -> bool:  # noqa: ANN401
        try:
            self._dispatcher.take(_message(incoming))
        except Unavailable as error:
            self.stopping.wait(self._journal.goes_on(error))
            return False
        except RequestMalformed as error:
            fault = fault_of(error)
            LOG.warning("message unreadable: code=%s reason=%s", fault.code, fault.message)
        self._journal.over()
        return True


def _message(incoming: Any) -> Message:  # noqa: ANN401
    """Take what is ours from oslo.messaging; on ``fake:/`` its context is a plain mapping."""
    context = incoming.ctxt if isinstance(incoming.ctxt, dict) else incoming.ctxt.to_dict()
    return message_in(incoming.message, context)
