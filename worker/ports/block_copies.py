"""The hypervisor, seen as what copies the disk of a running guest elsewhere while it is in use."""

from abc import ABC, abstractmethod

from worker.model.block_copy import BlockCopy
from worker.model.disk import Disk
from worker.model.ids import InstanceId


class BlockCopies(ABC):
    """Copies of disks, each by the alias of its disk; one goes on without the worker."""

    @abstractmethod
    def begin(self, instance: InstanceId, disk: Disk, size: int) -> None:
        """Begin to copy what the guest has as ``disk`` onto the disk's source, of so many bytes.

        From then on what the guest writes is written to both. One that is under way, or whose
        guest has gone over to it, is fine. Raises DomainNotFound, HypervisorRefused, also for a
        guest that does not run and for a disk that is being copied elsewhere.
        """

    @abstractmethod
    def look(self, instance: InstanceId, alias: str) -> BlockCopy:
        """Return how the disk stands now; one that is not there has neither source nor target."""

    @abstractmethod
    def pivot(self, instance: InstanceId, alias: str, target: str) -> None:
        """Have the guest go over to the copy, which is to be ``ready``.

        One that has gone over is fine. Both layouts have the target as the disk's source then.
        Raises HypervisorRefused.
        """

    @abstractmethod
    def abort(self, instance: InstanceId, alias: str, target: str) -> None:
        """End the copy to that target, and have the guest stay with what it has.

        None is fine, and so is one that is over; a copy to elsewhere is left alone.
        """

    @abstractmethod
    def settle(self, instance: InstanceId, disk: Disk, size: int) -> None:
        """Have both layouts, and the guest, have all of the disk that it has gone over to.

        What its hypervisor missed of that is made good. Again is fine, and so is a guest that has
        stopped. Raises HypervisorRefused.
        """
