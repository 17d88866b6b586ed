"""Which guests may have in QEMU what libvirt denies: those whose libvirtd died under them."""

import threading
from collections.abc import Iterator

from worker.model.ids import InstanceId
from worker.virt.libvirtd.memory import Memory


class Doubts:
    """The guests in doubt; any thread may ask and say. A later worker finds them in the memory."""

    def __init__(self, memory: Memory) -> None:
        self._lock = threading.Lock()
        self._memory = memory
        self._instances = memory.doubts

    def __contains__(self, instance: InstanceId) -> bool:
        with self._lock:
            return instance in self._instances

    def __iter__(self) -> Iterator[InstanceId]:
        with self._lock:
            return iter(self._instances)

    def add(self, instance: InstanceId) -> None:
        """Doubt the guest until its QEMU is gone."""
        with self._lock:
            self._keep(self._instances | {instance})

    def settle(self, instance: InstanceId) -> None:
        """Doubt it no longer, for it has stopped, and its QEMU with it."""
        with self._lock:
            self._keep(self._instances - {instance})

    def _keep(self, instances: frozenset[InstanceId]) -> None:
        if instances != self._instances:
            self._instances = instances
            self._memory.keep_doubts(instances)
