"""A libvirtd of a test's own, to be stopped, killed and frozen, and an ear for what is told."""

import gc
import os
import queue
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import libvirt

from tests.guests import remove_guests, require_hypervisor
from worker.model.guest import GuestEvent
from worker.virt.libvirtd.private import PrivateLibvirtd

SOON = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    """A private libvirtd under a folder with a short name: sockets lie in it."""

    state: Path
    private: PrivateLibvirtd

    @property
    def pid(self) -> int:
        return int((self.state / "libvirtd.pid").read_text(encoding="ascii"))

    def start(self) -> str:
        """Return its URI once it has its guests in hand again."""
        uri = self.private.start()
        connection = libvirt.open(uri)
        for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
            # It answers, and may be ended, only when the new libvirtd is done with finding it.
            with suppress(libvirt.libvirtError):
                domain.memoryStats()
        connection.close()
        return uri

    def stop(self) -> None:
        """SIGTERM."""
        self.private.stop()

    def kill(self) -> None:
        """kill -9; returns when it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        end = time.monotonic() + SOON
        while self.private.running():
            assert time.monotonic() < end
            time.sleep(0.01)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it take connections and answer none, as one does that hangs."""
        pid = self.pid
        # What an earlier test left to the collector may be a connection of its own, without
        # keepalive: to free it would say goodbye to libvirtd, and wait for the answer.
        gc.collect()
        gc.disable()
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)
            gc.enable()


@contextmanager
def victim() -> Iterator[Victim]:
    """A libvirtd that runs; nothing is left of it afterwards."""
    require_hypervisor()
    folder = Path(tempfile.mkdtemp(prefix="bw-test-"))
    made = Victim(state=folder / "state", private=PrivateLibvirtd(folder / "state"))
    try:
        made.start()
        yield made
        remove_guests(made.start())
    finally:
        made.stop()
        shutil.rmtree(folder)


@dataclass(frozen=True, slots=True)
class Ear:
    """Keeps what it hears."""

    events: queue.SimpleQueue[GuestEvent] = field(default_factory=queue.SimpleQueue)

    def until(self, wanted: GuestEvent) -> list[GuestEvent]:
        """Wait until it is told; return what was told before."""
        end = time.monotonic() + SOON
        before: list[GuestEvent] = []
        while (event := self.events.get(timeout=max(0.0, end - time.monotonic()))) != wanted:
            before.append(event)
        return before

    def forget(self) -> None:
        while not self.events.empty():
            self.events.get()
