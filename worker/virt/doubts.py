"""Which guests may have in QEMU what libvirt denies: those whose libvirtd died under them."""

import threading

from worker.model.ids import InstanceId


class Doubts:
    """The guests in doubt; any thread may ask and say."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._instances: set[InstanceId] = set()

    def __contains__(self, instance: InstanceId) -> bool:
        with self._lock:
            return instance in self._instances

    def add(self, instance: InstanceId) -> None:
        """Doubt the guest until its QEMU is gone."""
        with self._lock:
            self._instances.add(instance)

    def settle(self, instance: InstanceId) -> None:
        """Doubt it no longer, for it has stopped, and its QEMU with it."""
        with self._lock:
            self._instances.discard(instance)
