"""systemd's notification protocol: readiness, reloading, stopping, and a watchdog that is fed.

oslo.service speaks one word of it, READY=1.
"""

import logging
import os
import socket
import time
from collections.abc import MutableMapping

LOG = logging.getLogger(__name__)

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """Tells the service manager how it goes; without one it tells nobody."""

    def __init__(self, address: str | None, watchdog: float | None = None) -> None:
        """``watchdog`` is after how many seconds without ``alive`` the manager ends us."""
        self._address = address
        self.watchdog = watchdog

    @classmethod
    def taken_from(cls, environment: MutableMapping[str, str]) -> "Notifier":
        """Take what systemd put there out of the environment, so that no child speaks for us."""
        address, microseconds, pid = (environment.pop(name, "") for name in VARIABLES)
        meant = pid in ("", str(os.getpid())) and microseconds.isdecimal()
        return cls(address or None, int(microseconds) / 1e6 if meant else None)

    def ready(self, status: str) -> None:
        """Say that we serve, or serve again after reloading."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Say that the configuration is being read again; ``ready`` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str) -> None:
        """Say that no more is taken, and that we leave by ourselves."""
        self._send("STOPPING=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """Say how it goes, in a line."""
        self._send(f"STATUS={status}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        name = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.settimeout(1.0)
                manager.sendto("\n".join(lines).encode(), name)
        except OSError as error:
            LOG.debug("service manager not told: error=%s", error)
