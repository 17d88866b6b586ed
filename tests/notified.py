"""A service manager's end of the notification socket, as systemd has it."""

import socket
import time
from pathlib import Path
from typing import Self


class Manager:
    """Keeps every notification in the order it came."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.heard: list[dict[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def environment(self, watchdog: float | None = None) -> dict[str, str]:
        """Return what a service gets from it."""
        more = {} if watchdog is None else {"WATCHDOG_USEC": str(round(watchdog * 1e6))}
        return {"NOTIFY_SOCKET": self.address} | more

    def hear(self, seconds: float) -> dict[str, str] | None:
        """Return the next notification, or None when none comes in that time."""
        self._socket.settimeout(max(0.001, seconds))
        try:
            text = self._socket.recv(4096).decode()
        except TimeoutError:
            return None
        self.heard.append(dict(line.split("=", 1) for line in text.splitlines()))
        return self.heard[-1]

    def wait_for(self, name: str, seconds: float = 30.0) -> dict[str, str]:
        """Return the next notification that has the name."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            told = self.hear(left)
            if told is not None and name in told:
                return told
        raise AssertionError((name, self.heard))

    def silent_for(self, name: str, seconds: float) -> bool:
        """Return whether nothing of that name comes for so long."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            told = self.hear(left)
            if told is not None and name in told:
                return False
        return True


def manager(folder: Path) -> Manager:
    """Return one with a socket in that folder."""
    return Manager(str(folder / "notify"))
