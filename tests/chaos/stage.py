"""The real parts that the matrix is played on: libvirtd, guests, a worker's process, its files."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, update

from tests.chaos.bus import Bus, InWorker
from tests.chaos.parent import Forked, Parent, parent
from tests.chaos.trouble import Orders
from tests.guests import BOOT_TIMEOUT, Guest, GuestMaker, remove_guests
from tests.processes import SOON, Json, Served, configure
from worker import conf as options
from worker import wiring
from worker.errors import OperationNotFound
from worker.model.ids import new_uuid
from worker.model.operation import OperationState
from worker.persistence.schema import BLOCK_DEVICES
from worker.virt.libvirtd.memory import Memory

SIZE = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What one operation is about: a guest, a volume made for it, and the row that joins them."""

    guest: Guest
    running: bool
    volume: str
    row: Json


@dataclass(kw_only=True)
class Stage:
    """Guests are used again from case to case, one that runs and one that is stopped.

    ``kept`` are other cases that are used again, by what their scenes call them.
    """

    uri: str
    folder: Path
    make_guest: GuestMaker
    bus: Bus = field(default_factory=InWorker)
    # Trouble that is made once: asked again, the call would succeed, and nothing go back.
    outage_patience: str = "0"
    settings: str = ""
    """What the configuration says besides, whole groups of it."""
    parent: Parent = field(init=False)
    host: str = field(init=False)
    served: Served = field(init=False)
    orders: Orders = field(init=False)
    engine: Engine = field(init=False)
    built: set[str] = field(default_factory=set)
    kept: dict[str, Case] = field(default_factory=dict)
    _guests: dict[bool, Guest] = field(default_factory=dict)
    _renewed: int = 0

    def open(self) -> None:
        """Start a worker that has nothing to remember."""
        state = self.folder / f"state-{self._renewed}"
        # Another host each time: what is left in the queue of the last is not for this one.
        self.host = f"chaos-{self._renewed}"
        written = configure(
            state,
            self.uri,
            transport_url=self.bus.url,
            host=self.host,
            outage_patience=self.outage_patience,
        )
        written.config.write_text(f"{written.config.read_text()}\n{self.settings}")
        self.served = Forked(state=state, config=written.config, parent=self.parent)
        self.orders = Orders(state)
        conf = options.load([self.served.config])
        self.engine = wiring.make_database(conf).engine
        self.served.start()

    def close(self) -> None:
        """End the worker; the guests are their maker's to end."""
        self.engine.dispose()
        if self.served.process is not None and self.served.process.poll() is None:
            self.served.kill()

    def renew(self) -> None:
        """Begin anew, with other guests: these are in a state that nobody vouches for."""
        self.close()
        remove_guests(self.uri, {*self.built, *(guest.uuid for guest in self._guests.values())})
        self.built.clear()
        self.kept.clear()
        self._guests.clear()
        self._renewed += 1
        self.open()

    def guest(self, *, running: bool) -> Guest:
        if running not in self._guests:
            guest = self.make_guest(booted=running)
            self.served.client.call("adopt_instance", domain=guest.uuid)
            self._guests[running] = guest
        guest = self._guests[running]
        self._settle(guest)
        if guest.runs is not running:
            self._switch(guest, running=running)
        return guest

    def _settle(self, guest: Guest) -> None:
        """Have the worker forget that the guest is in doubt since a point that killed it.

        It would ask QEMU too, in calls that it does not make for a guest that nobody doubts.
        """
        memory = Memory(self.served.state, self.uri)
        if guest.uuid in memory.doubts:
            self.served.kill()
            memory.keep_doubts(frozenset())
            self.served.start()

    def _switch(self, guest: Guest, *, running: bool) -> None:
        """Put a guest back as it was, after an operation that has changed its power."""
        if running:
            self.run("start_instance", instance_uuid=guest.uuid)
            guest.console.fresh(BOOT_TIMEOUT)
        else:
            self.run("stop_instance", instance_uuid=guest.uuid, clean_shutdown=False)

    def reserved(self, *, running: bool) -> Case:
        """Make a volume and a reservation for it."""
        guest, volume = self.guest(running=running), new_uuid()
        self.run("create_volume", volume_id=volume, size=SIZE)
        row = self.served.client.call(
            "reserve_block_device_name", instance_uuid=guest.uuid, volume_id=volume
        )
        return Case(guest=guest, running=running, volume=volume, row=row)

    def attached(self, *, running: bool) -> Case:
        """Make a volume and attach it; the guest has seen it."""
        case = self.reserved(running=running)
        self.run("attach_volume", instance_uuid=case.guest.uuid, bdm_uuid=case.row["uuid"])
        if running:
            case.guest.wait_for_disk(case.row["device_name"].removeprefix("/dev/"))
        return case

    def booted_from(self, *, running: bool) -> Case:
        """Attach a volume, and have the guest boot from it, as far as the worker knows."""
        case = self.attached(running=running)
        which = BLOCK_DEVICES.c.uuid == case.row["uuid"]
        with self.engine.begin() as connection:
            connection.execute(update(BLOCK_DEVICES).where(which).values(boot_index=0))
        return case

    def run(self, method: str, **arguments: Any) -> Json:  # noqa: ANN401
        """Run an operation that is part of no point."""
        operation = new_uuid()
        self.send(method, operation, arguments)
        ended = self.end_of(operation)
        assert ended["state"] == "succeeded", ended
        return ended

    def send(self, method: str, operation: str, arguments: dict[str, Any]) -> None:
        """Ask for an operation; the worker may die of it."""
        self.bus.send(self.served, self.host, method, operation, arguments)

    def end_of(self, operation: str) -> Json:
        """Return an operation that was sent, once it has ended."""
        found: Json | None = None
        deadline = time.monotonic() + SOON
        while time.monotonic() < deadline:
            # Until the worker has taken it from the queue it is not there.
            with suppress(OperationNotFound):
                found = self.served.client.call("get_operation", operation_id=operation)
            if found is not None and OperationState(found["state"]).ended:
                return found
            time.sleep(0.02)
        message = f"operation {operation} does not end: {found}"
        raise AssertionError(message)

    def wait_for_death(self) -> None:
        """Wait until the worker has killed itself as ordered."""
        process = self.served.process
        assert process is not None
        assert process.wait(SOON) == -signal.SIGKILL, process.returncode


@contextmanager
def stage(
    uri: str,
    folder: Path,
    make_guest: GuestMaker,
    bus: Bus | None = None,
    *,
    outage_patience: str = "0",
    settings: str = "",
) -> Iterator[Stage]:
    """Lend a stage whose worker is gone afterwards."""
    found = Stage(
        uri=uri,
        folder=folder,
        make_guest=make_guest,
        bus=bus or InWorker(),
        outage_patience=outage_patience,
        settings=settings,
    )
    with parent() as found.parent:
        found.open()
        try:
            yield found
        finally:
            found.close()


def soon(true: Callable[[], bool], seconds: float = SOON) -> bool:
    """Wait for it; return whether it came."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
