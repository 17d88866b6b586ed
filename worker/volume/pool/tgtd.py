"""A tgtd of our own, for a host that is given none: a daemon of the state folder.

It is no child of the worker: like the private libvirtd it outlives the worker, for guests have
their disks through it. It is known by its management socket, which no other process can have.
"""

import fcntl
import os
import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from worker.errors import VolumeServiceUnavailable
from worker.volume.pool.tgt import Tgt, TgtRefusal

PORTS = range(3260, 3460)
"""Where a port is looked for: from iSCSI's own upwards, below those that the kernel gives away."""

_ADDRESS = "127.0.0.1"
_SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
_TIMEOUT = 15.0
_POLL = 0.02
_LOG_LINES = 4

_DETACHED = 'exec "$@" </dev/null >log 2>&1 &'
"""The shell that starts it goes at once; so nobody is left to bury it but the first process."""


class Daemon(ABC):
    """A tgtd, and where its targets are reached."""

    tgt: Tgt

    @abstractmethod
    def ensure(self) -> str:
        """Have it run; return where it listens, ``address:port``.

        Raises VolumeServiceUnavailable.
        """

    @abstractmethod
    def end(self) -> None:
        """End it, if that is ours to do and it exports nothing."""


class GivenTgtd(Daemon):
    """A tgtd that others look after, with the management socket ``path``."""

    def __init__(self, path: Path, portal: str) -> None:
        self.tgt = Tgt(path)
        self._portal = portal

    def ensure(self) -> str:
        """Return where it is said to listen; who asks it finds out whether it runs."""
        return self._portal

    def end(self) -> None:
        """Leave it."""


class PrivateTgtd(Daemon):
    """The tgtd that lives under the folder ``state``, and listens at ``portal``.

    Where none is given it takes a free port of 127.0.0.1, and keeps that one for good: guests
    know their disks by it.
    """

    def __init__(
        self, state: Path, portal: str | None = None, *, search_path: str = _SEARCH_PATH
    ) -> None:
        self._state = state.absolute()
        self._given = portal
        self._search_path = search_path
        self.tgt = Tgt(self._state / "ipc.0")

    def ensure(self) -> str:
        """Have it run; return where it listens.

        Raises VolumeServiceUnavailable that names what is missing or in the way.
        """
        with self._lock():
            if not self.tgt.runs():
                self._start()
            return self._given or self._kept().read_text(encoding="utf-8")

    def end(self) -> None:
        """End it, unless it exports something; one that does not run is fine."""
        with suppress(VolumeServiceUnavailable):
            if self.tgt.runs() and not self.tgt.targets():
                self.tgt.end()
                # It answers yet, and takes what it is told with it.
                self._wait(until=False)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        try:
            self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
            with (self._state / "lock").open("w", encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
        except OSError as error:
            message = f"the folder of the pool's tgtd, {self._state}, cannot be used: {error}"
            raise VolumeServiceUnavailable(message) from error

    def _kept(self) -> Path:
        return self._state / "portal"

    def _start(self) -> None:
        portals = self._possible()
        first = next(portals)
        self._launch(first)
        self._wait(until=True)
        if first in self.tgt.portals():
            self._keep(first)
            return
        # It runs on without the portal that it was started for, and can be given another.
        for portal in portals:
            with suppress(TgtRefusal):
                self.tgt.listen(portal)
                self._keep(portal)
                return
        self.end()
        message = f"the pool's tgtd cannot listen at {first}{self._last_words()}"
        raise VolumeServiceUnavailable(message)

    def _possible(self) -> Iterator[str]:
        """Yield where it may listen: the one place that guests know, or any."""
        if self._given is not None:
            yield self._given
        elif self._kept().exists():
            yield self._kept().read_text(encoding="utf-8")
        else:
            yield from (f"{_ADDRESS}:{port}" for port in PORTS)

    def _keep(self, portal: str) -> None:
        if self._given is None and not self._kept().exists():
            fresh = self._state / "portal.new"
            fresh.write_text(portal, encoding="utf-8")
            fresh.replace(self._kept())

    def _launch(self, portal: str) -> None:
        program = shutil.which("tgtd", path=self._search_path)
        if program is None:
            raise VolumeServiceUnavailable("tgtd is not installed (Debian package: tgt)")
        daemon = [program, "-f", "--iscsi", f"portal={portal}"]
        subprocess.run(
            ["sh", "-c", _DETACHED, "tgtd", *daemon],
            cwd=self._state,
            # The socket's path is relative: it may have 107 bytes, and the folder may be deep.
            env={"PATH": self._search_path, "TGT_IPC_SOCKET": "ipc"},
            check=True,
            start_new_session=True,
        )

    def _wait(self, *, until: bool) -> None:
        end = time.monotonic() + _TIMEOUT
        while self.tgt.runs() is not until:
            if time.monotonic() > end:
                does = "start" if until else "end"
                message = f"the pool's tgtd does not {does}{self._last_words()}"
                raise VolumeServiceUnavailable(message)
            time.sleep(_POLL)

    def _last_words(self) -> str:
        said = (self._state / "log").read_text(encoding="utf-8", errors="replace")
        return "".join(
            f"\n  {line}" for line in ("it said last:", *said.splitlines()[-_LOG_LINES:])
        )
