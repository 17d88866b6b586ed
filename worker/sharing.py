"""Who has a volume on this host: one lock a volume, for all lanes of the worker."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from worker.errors import VolumeBusy
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
    def alone(
        self, *volumes: VolumeId, within: Callable[[], float] | None = None
    ) -> Iterator[None]:
        """Wait until nobody else has one of them; others wait until it is left.

        ``within`` says for how many seconds more; then VolumeBusy is raised.
        """
        with ExitStack() as stack:
            for volume in sorted(set(volumes)):
                stack.enter_context(self._alone(volume, within))
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
    def _alone(self, volume: VolumeId, within: Callable[[], float] | None) -> Iterator[None]:
        seconds = None if within is None else max(0.0, within())
        with self._changed:
            if not self._changed.wait_for(lambda: volume not in self._taken, seconds):
                message = f"another operation keeps volume {volume} on this host to itself"
                raise VolumeBusy(message)
            self._taken.add(volume)
        try:
            yield
        finally:
            with self._changed:
                self._taken.remove(volume)
                self._changed.notify_all()


class PatientSharing(Sharing):
    """The same for one operation, whose patience has an end."""

    def __init__(self, shared: LaneSharing, within: Callable[[], float]) -> None:
        """``within`` says how many seconds it may wait yet."""
        self._shared = shared
        self._within = within

    def alone(self, *volumes: VolumeId) -> AbstractContextManager[None]:
        """Wait no longer than that for whoever has one of them; raises VolumeBusy."""
        return self._shared.alone(*volumes, within=self._within)

    def uses(self, device: BlockDeviceId) -> None:
        """Note that the row uses its volume, from before it is connected."""
        self._shared.uses(device)

    def left(self, device: BlockDeviceId) -> None:
        """Note that the row does not use its volume any more."""
        self._shared.left(device)

    def still(self, devices: frozenset[BlockDeviceId]) -> frozenset[BlockDeviceId]:
        """Return those that have not let go since."""
        return self._shared.still(devices)
