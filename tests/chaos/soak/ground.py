"""The parts that a soak runs on: libvirtd to be killed, RabbitMQ, guests, a worker, its files."""

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import libvirt
from sqlalchemy import RowMapping, func, select

from tests.chaos.bus import Broker, broker
from tests.chaos.stage import Case, Stage, stage
from tests.contract.daemons import Victim, victim
from tests.guests import Guest, cached_guest_image, guest_maker
from worker.model.ids import new_uuid
from worker.persistence.schema import OPERATIONS

SIZE = 4 << 20
PATIENCE = "60"
LOOK = 0.5


class Libvirtd:
    """libvirtd with one who looks after it, as an init system does: it may crash by itself.

    libvirt 9.0 was seen to, twice; it looked like the use of a freed disk. What led to it is not
    known.
    """

    def __init__(self, process: Victim) -> None:
        self._process = process
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self.kills = 0
        self.crashes = 0

    def kill(self, seconds: float) -> None:
        """Kill it, leave it dead for so long, and start it again."""
        with self._lock:
            if self._process.private.running():
                self._process.kill()
                self.kills += 1
            time.sleep(seconds)
            self._process.start()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Look after it."""
        self._keeper.start()
        try:
            yield
        finally:
            self._stopping.set()
            self._keeper.join()

    def _keep(self) -> None:
        while not self._stopping.wait(LOOK):
            with self._lock:
                if not self._process.private.running():
                    self.crashes += 1
                    self._process.start()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """A worker with guests in its care; ``volumes`` are those made for each guest.

    ``haunted`` was attached to the first guest once: a row that is deleted knows it.
    """

    libvirtd: Libvirtd
    bus: Broker
    stage: Stage
    guests: tuple[Guest, ...]
    volumes: tuple[tuple[str, ...], ...]
    haunted: Case

    def fresh(self, guest: Guest) -> Guest:
        """Return the guest with a handle on the libvirtd of now."""
        domain = libvirt.open(guest.uri).lookupByUUIDString(guest.uuid)
        return replace(guest, domain=domain)

    def ended(self) -> int:
        """Return how many of the operations that were sent have ended."""
        with self.stage.engine.connect() as connection:
            found = select(func.count()).where(
                OPERATIONS.c.ended_at.is_not(None),
                OPERATIONS.c.own.is_(False),
                OPERATIONS.c.instance_uuid.is_not(None),
            )
            return int(connection.execute(found).scalar_one())

    def operation(self, id_: str) -> RowMapping | None:
        """Return an operation's row in the journal, if it is there."""
        with self.stage.engine.connect() as connection:
            found = connection.execute(select(OPERATIONS).where(OPERATIONS.c.id == id_))
            return found.mappings().first()


@contextmanager
def ground(guests: int, volumes: int) -> Iterator[Ground]:
    """Lend the parts; nothing is left of them afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="bw-soak-") as name,
        victim() as process,
        broker() as bus,
        guest_maker(process.start(), cached_guest_image(), Path(name)) as make_guest,
        stage(process.start(), Path(name), make_guest, bus, outage_patience=PATIENCE) as played,
        (libvirtd := Libvirtd(process)).kept(),
    ):
        haunted = _haunted(played)
        made = [haunted.guest, *(make_guest() for _ in range(guests - 1))]
        for guest in made[1:]:
            played.served.client.call("adopt_instance", domain=guest.uuid)
        yield Ground(
            libvirtd=libvirtd,
            bus=bus,
            stage=played,
            guests=tuple(made),
            volumes=tuple(tuple(_volume(played) for _ in range(volumes)) for _ in made),
            haunted=haunted,
        )


def _haunted(played: Stage) -> Case:
    case = played.attached(running=True)
    played.run(
        "detach_volume",
        instance_uuid=case.guest.uuid,
        volume_id=case.volume,
        bdm_uuid=case.row["uuid"],
    )
    return case


def _volume(played: Stage) -> str:
    volume = new_uuid()
    played.run("create_volume", volume_id=volume, size=SIZE)
    return volume
