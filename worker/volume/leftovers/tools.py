"""What takes things from the host: os-brick, and the tools that os-brick runs itself."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from os_brick.initiator import connector as initiator
from os_brick.initiator.connectors import base
from os_brick.privileged import rootwrap

ResultT = TypeVar("ResultT")

SECONDS = 60.0
"""How long one tool may take: it flushes what a device still has to write."""


class Tools(ABC):
    """Changes the host, as root; raises whatever its tool does."""

    @abstractmethod
    def remove_lun(self, portal: str, iqn: str, lun: int) -> None:
        """Flush the LUN's device and remove it; log out if the session has no other device."""

    @abstractmethod
    def run(self, *words: str) -> None:
        """Run a command."""

    @abstractmethod
    def alone(self, call: Callable[[], ResultT]) -> ResultT:
        """Make the call while nobody connects or disconnects on this host."""


class BrickTools(Tools):
    """os-brick's, which it sets up when its connector is made."""

    def __init__(self, root_helper: str = "") -> None:
        self._root_helper = root_helper

    def remove_lun(self, portal: str, iqn: str, lun: int) -> None:
        """Have os-brick disconnect it; what else the session has, it leaves alone."""
        said = {"target_portal": portal, "target_iqn": iqn, "target_lun": lun}
        brick = initiator.InitiatorConnector.factory("iscsi", self._root_helper)
        brick.disconnect_volume(said, None)

    def run(self, *words: str) -> None:
        """Run the command as os-brick does; what hangs for too long is killed."""
        rootwrap.execute(*words, run_as_root=True, root_helper=self._root_helper, timeout=SECONDS)

    def alone(self, call: Callable[[], ResultT]) -> ResultT:
        """Hold the lock that every os-brick of this host connects and disconnects under."""
        result: ResultT = base.synchronized("connect_volume", external=True)(call)()
        return result
