"""The hypervisor, seen as what a guest is booted from for once."""

from abc import ABC, abstractmethod

from worker.model.ids import InstanceId
from worker.model.rescue.words import RescueLayout


class Rescues(ABC):
    """Guests that run with another layout than their persistent one, which is never written."""

    @abstractmethod
    def check(self, instance: InstanceId, layout: RescueLayout) -> None:
        """Raise unless the guest can run with the layout; changes nothing, whether it runs or not.

        The rescue disk need not be there yet. Raises DomainNotFound, MachineUnsupported for what
        the hypervisor refuses, or for one that cannot rescue at all, HypervisorRefused for a
        transient domain, or one with a saved state.
        """

    @abstractmethod
    def start(self, instance: InstanceId, layout: RescueLayout) -> None:
        """Start the guest with the layout; one that runs with it, by the rescue disk, is fine.

        The persistent layout is the same before, meanwhile and after. Raises DomainNotFound,
        HypervisorRefused, also for a guest that runs without the rescue disk.
        """
