"""What is counted as it happens."""

from abc import ABC, abstractmethod

from worker.model.identity.lookup import DeviceKind


class Tally(ABC):
    """Numbers that an operator watches; counting never fails."""

    @abstractmethod
    def found_by_facts(self, kind: DeviceKind) -> None:
        """Count a device that was found without its alias."""
