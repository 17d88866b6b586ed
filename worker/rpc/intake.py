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
from worker.model.operation import fault_of
from worker.rpc.bus import BusSettings
from worker.rpc.dead_letters import DeadLetters
from worker.rpc.dispatch import Dispatcher
from worker.rpc.echo import Pulse, mark_of
from worker.rpc.link import AT_ONCE, LOOK, Link, Outage, drain, drain_rest
from worker.rpc.topology import operations_queue
from worker.rpc.wire import envelope_in

LOG = logging.getLogger(__name__)


class Intake:
    """This host's ear for operations.

    ``backlog_taken`` is set while all that was queued when it last connected is in the journal.
    """

    def __init__(self, settings: BusSettings, dispatcher: Dispatcher) -> None:
        """Give what is heard to the dispatcher."""
        self._settings = settings
        self._dispatcher = dispatcher
        self._journal = Outage("intake: journal", settings)
        self._link = Link("intake", settings, self._listen)
        self.backlog_taken = threading.Event()
        self.pulse = Pulse()

    def start(self) -> None:
        """Begin to listen; returns once it does, or soon and keeps trying without a broker."""
        self._link.start()

    def stop(self, seconds: float = 10.0) -> bool:
        """Take no more; what was not taken stays queued. Return whether it ended in time."""
        return self._link.stop(seconds)

    @property
    def connected(self) -> bool:
        """Whether the connection claims to be well."""
        return self._link.connected

    @property
    def held_up(self) -> bool:
        """Whether the journal is away, so that what is heard cannot be taken."""
        return self._journal.lasts

    def _listen(self, connection: Connection) -> None:
        self.backlog_taken.clear()
        sitting = _Sitting(connection, self._settings, self._dispatcher, self._journal, self.pulse)
        self._link.settled()
        while not self._link.stopping.is_set():
            if not self.backlog_taken.is_set() and sitting.backlog <= 0:
                self.backlog_taken.set()
            drain(connection, sitting.patience())
            drain_rest(connection, sitting.has_enough)
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
        pulse: Pulse,
    ) -> None:
        self._dispatcher = dispatcher
        self._journal = journal
        self._pulse = pulse
        self._prefetch = settings.prefetch
        self._batches = settings.in_process is None
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

    def has_enough(self) -> bool:
        """Return whether nothing is left to wait for: what there is can be worked off."""
        return not 0 < len(self._heard) < self._prefetch

    def work_off(self, stopping: threading.Event) -> None:
        """Settle what was heard, as far as the journal lets us."""
        if len(self._heard) > 1 and time.monotonic() >= self._not_before:
            self._take_together()
        while self._heard and time.monotonic() >= self._not_before and not stopping.is_set():
            if not self._settle(self._heard[0]):
                return
            self._heard.popleft()
            self.backlog -= 1

    def _take_together(self) -> None:
        """Keep all that was heard in one commit; what does not fit in is settled one by one."""
        try:
            messages = [envelope_in(message.body) for message in self._heard]
            self._dispatcher.take_together(messages)
        except Unavailable as error:
            self._not_before = time.monotonic() + self._journal.goes_on(error)
            return
        except Exception:  # noqa: BLE001 - settled alone, each says what is wrong with it
            return
        self._pulse.beat()
        self._journal.over()
        self.backlog -= len(self._heard)
        # Of the buses in this process each takes only the one that is named.
        for message in [self._heard[-1]] if self._batches else self._heard:
            message.ack(multiple=self._batches)
        self._heard.clear()

    def _settle(self, message: Message) -> bool:
        self._pulse.beat()
        mark = mark_of(message)
        if mark is not None:
            self._pulse.back(mark)
            message.ack()
            return True
        return self._take(message)

    def _take(self, message: Message) -> bool:
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
