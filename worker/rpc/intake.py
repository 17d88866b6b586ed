"""Takes operations from their queue; a message is acknowledged once what became of it is durable.

oslo.messaging acknowledges before it dispatches, so its server would lose what a crash interrupts.
"""

import logging
import threading
import time
from collections import deque

from kombu.connection import Connection
from kombu.message import Message
from kombu.messaging import Consumer

from worker.errors import RequestMalformed, Unavailable
from worker.rpc.bus import BusSettings
from worker.rpc.dead_letters import DeadLetters
from worker.rpc.dispatch import Dispatcher
from worker.rpc.link import AT_ONCE, LOOK, Link, Outage, drain
from worker.rpc.topology import operations_queue
from worker.rpc.wire import envelope_in
from worker.steps import fault_of

LOG = logging.getLogger(__name__)


class Intake:
    """This host's ear for operations.

    ``backlog_taken`` is set once all that was queued when it first connected is in the journal.
    """

    def __init__(self, settings: BusSettings, dispatcher: Dispatcher) -> None:
        """Give what is heard to the dispatcher."""
        self._settings = settings
        self._dispatcher = dispatcher
        self._journal = Outage("intake: journal", settings)
        self._link = Link("intake", settings, self._listen)
        self.backlog_taken = threading.Event()

    def start(self) -> None:
        """Begin to listen; returns once it does, or soon and keeps trying without a broker."""
        self._link.start()

    def stop(self, seconds: float = 10.0) -> bool:
        """Take no more; what was not taken stays queued. Return whether it ended in time."""
        return self._link.stop(seconds)

    def _listen(self, connection: Connection) -> None:
        sitting = _Sitting(connection, self._settings, self._dispatcher, self._journal)
        self._link.settled()
        while not self._link.stopping.is_set():
            if not self.backlog_taken.is_set() and sitting.backlog <= 0:
                self.backlog_taken.set()
            drain(connection, sitting.patience())
            sitting.work_off(self._link.stopping)


class _Sitting:
    """The messages of one connection: taken in order, the first of them until it is settled.

    Nothing is given back to the queue, which would change the order and count as a delivery.
    """

    def __init__(
        self,
        connection: Connection,
        settings: BusSettings,
        dispatcher: Dispatcher,
        journal: Outage,
    ) -> None:
        self._dispatcher = dispatcher
        self._journal = journal
        self._heard: deque[Message] = deque()
        self._not_before = 0.0
        self._dead = DeadLetters(connection, settings)
        channel = connection.channel()
        queue = operations_queue(settings)(channel)
        queue.declare()
        self.backlog = queue.queue_declare(passive=True).message_count
        consumer = Consumer(
            channel, [queue], on_message=self._heard.append, auto_declare=False, accept=None
        )
        consumer.qos(prefetch_count=settings.prefetch)
        consumer.consume()

    def patience(self) -> float:
        """Return for how many seconds there is nothing to do but to listen."""
        if not self._heard:
            return LOOK
        return min(LOOK, max(AT_ONCE, self._not_before - time.monotonic()))

    def work_off(self, stopping: threading.Event) -> None:
        """Settle what was heard, as far as the journal lets us."""
        while self._heard and time.monotonic() >= self._not_before and not stopping.is_set():
            if not self._settle(self._heard[0]):
                return
            self._heard.popleft()
            self.backlog -= 1

    def _settle(self, message: Message) -> bool:
        try:
            self._dispatcher.take(envelope_in(message.body))
        except Unavailable as error:
            self._not_before = time.monotonic() + self._journal.goes_on(error)
            return False
        except RequestMalformed as error:
            self._bury(message, error)
        except Exception as error:
            LOG.exception("intake crashed on a message")
            self._bury(message, error)
        self._journal.over()
        message.ack()
        return True

    def _bury(self, message: Message, error: Exception) -> None:
        fault = fault_of(error)
        self._dead.put(message.body, fault)
        LOG.warning("message unreadable: code=%s reason=%s", fault.code, fault.message)
