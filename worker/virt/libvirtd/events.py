"""Who hears what libvirt tells: a call that waits for one device, and listeners to all.

The ``tell_`` methods run on libvirt's event thread: they do nothing but hand on.
"""

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, auto

from worker.model.guest import DeviceRemoved, GuestEvent, GuestInDoubt, PowerChanged
from worker.model.ids import InstanceId
from worker.virt.libvirtd.doubts import Doubts
from worker.virt.libvirtd.memory import Memory

LOG = logging.getLogger(__name__)

_END_TIMEOUT = 5.0


class Outcome(Enum):
    """Why the wait for an unplug ended."""

    REMOVED = auto()
    REFUSED = auto()
    STOPPED = auto()
    LOST = auto()


class Watch:
    """The outcomes of one device of one guest since the watch began."""

    def __init__(self, instance: InstanceId, alias: str) -> None:
        self.instance = instance
        self.alias = alias
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()

    def tell(self, outcome: Outcome) -> None:
        """Wake the one who waits, now or when it begins to."""
        self._outcomes.put(outcome)

    def wait(self, seconds: float) -> Outcome | None:
        """Return the next outcome, or None after that time."""
        try:
            return self._outcomes.get(timeout=seconds)
        except queue.Empty:
            return None


class Events:
    """The one place through which events pass; outlives any single opening of the connection."""

    def __init__(self, memory: Memory) -> None:
        self.doubts = Doubts(memory)
        self._lock = threading.Lock()
        self._watches: frozenset[Watch] = frozenset()
        self._listeners: tuple[Callable[[GuestEvent], None], ...] = ()
        self._queue: queue.SimpleQueue[GuestEvent | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watch(self, instance: InstanceId, alias: str) -> Iterator[Watch]:
        """Keep what is told of the device from now on, so that nothing is missed before a wait."""
        watch = Watch(instance, alias)
        with self._lock:
            self._watches |= {watch}
        try:
            yield watch
        finally:
            with self._lock:
                self._watches -= {watch}

    def subscribe(self, listener: Callable[[GuestEvent], None]) -> None:
        """Hand every event from now on to the listener, one after another, on our own thread.

        The listener may call libvirt. What it raises is logged and keeps no other from hearing.
        The guests that are in doubt already are told first.
        """
        with self._lock:
            self._listeners += (listener,)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._deliver, name="guest-events", daemon=True
                )
                self._thread.start()
        for instance in self.doubts:
            self._put(GuestInDoubt(instance=instance))

    def tell_removed(self, instance: InstanceId, alias: str) -> None:
        """The guest let go of the device."""
        self._wake(Outcome.REMOVED, instance, alias)
        self._put(DeviceRemoved(instance=instance, alias=alias))

    def tell_refused(self, instance: InstanceId, alias: str) -> None:
        """The guest refused to let go of the device."""
        self._wake(Outcome.REFUSED, instance, alias)

    def tell_power(self, instance: InstanceId, *, stopped: bool) -> None:
        """The domain changed its state; one that stopped has let go of all devices."""
        if stopped:
            self.doubts.settle(instance)
            self._wake(Outcome.STOPPED, instance)
        self._put(PowerChanged(instance=instance))

    def tell_doubt(self, instance: InstanceId) -> None:
        """QEMU may have what libvirt denies, from now on until the domain stops."""
        self.doubts.add(instance)
        self._put(GuestInDoubt(instance=instance))

    def tell_lost(self) -> None:
        """The connection is gone: whoever waits has to look for itself."""
        self._wake(Outcome.LOST)

    def close(self) -> None:
        """End the thread, after the events that wait for it; without one it does nothing."""
        with self._lock:
            thread, self._thread, self._listeners = self._thread, None, ()
        if thread is None:
            return
        self._queue.put(None)
        if thread is not threading.current_thread():
            thread.join(_END_TIMEOUT)

    def _wake(
        self, outcome: Outcome, instance: InstanceId | None = None, alias: str | None = None
    ) -> None:
        for watch in self._watches:
            if instance in (None, watch.instance) and alias in (None, watch.alias):
                watch.tell(outcome)

    def _put(self, event: GuestEvent) -> None:
        # Nobody empties the queue before there is a listener.
        if self._listeners:
            self._queue.put(event)

    def _deliver(self) -> None:
        while (event := self._queue.get()) is not None:
            for listener in self._listeners:
                _hand_over(listener, event)


def _hand_over(listener: Callable[[GuestEvent], None], event: GuestEvent) -> None:
    try:
        listener(event)
    except Exception:
        LOG.exception("listener failed: event=%s", event)
