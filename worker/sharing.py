"""Who has a volume on this host: one lock a volume, for all lanes of the worker."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from worker.model.ids import BlockDeviceId, VolumeId
from worker.ports import Sharing

KEPT = 1024
"""How many rows that have let go are kept in mind. Each is only for the moment until that is
durable, so it is long forgotten by the database when it is by us."""


class LaneSharing(Sharing):
    """In memory: a worker alone has its host, and what it had not made durable dies with it."""

    def __init__(self) -> None:
        """Nobody has let go of anything."""
        self._changed = threading.Condition()
        self._taken: set[VolumeId] = set()
        self._gone: OrderedDict[BlockDeviceId, None] = OrderedDict()

    @contextmanager
    def alone(self, *volumes: VolumeId) -> Iterator[None]:
        """Wait until nobody else has one of them; others wait until it is left."""
        with ExitStack() as stack:
            for volume in sorted(set(volumes)):
                stack.enter_context(self._alone(volume))
            yield

    def uses(self, device: BlockDeviceId) -> None:
        """Note that the row uses its volume, from before it is connected."""
        with self._changed:
            self._gone.pop(device, None)

    def left(self, device: BlockDeviceId) -> None:
        """Note that the row does not use its volume any more."""
        with self._changed:
            self._gone[device] = None
            if len(self._gone) > KEPT:
                self._gone.popitem(last=False)

    def still(self, devices: frozenset[BlockDeviceId]) -> frozenset[BlockDeviceId]:
        """Return those that have not let go since."""
        with self._changed:
            return devices - self._gone.keys()

    @contextmanager
    def _alone(self, volume: VolumeId) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: volume not in self._taken)
            self._taken.add(volume)
        try:
            yield
        finally:
            with self._changed:
                self._taken.remove(volume)
                self._changed.notify_all()
