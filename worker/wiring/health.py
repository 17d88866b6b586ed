"""What the worker knows of its own health, from its parts; and how it is served."""

import logging
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from oslo_config import cfg

from worker import __version__
from worker.health.metrics import Metrics, Reading
from worker.health.probe import BOUND, Part, Probe
from worker.health.server import HealthServer, application
from worker.health.watchdog import Judgement, Signs
from worker.model.workload import Workload
from worker.persistence.database import Database
from worker.persistence.workload import read_workload
from worker.rpc.echo import Echo
from worker.rpc.intake import Intake
from worker.rpc.local import bind
from worker.rpc.server import CallServer, FakeIntake
from worker.rpc.updates import Relay
from worker.rpc.wire import Message
from worker.wiring.core import Core
from worker.wiring.settings import health_address

LOG = logging.getLogger(__name__)

MISSED = 6
"""Intervals without a message to oneself after which the connection is not believed any more."""

UNPUBLISHED = 60.0
"""Seconds after which an update that waits to be published is a bad sign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The worker's ends of the bus; ``echo`` is None on one that has no intake of ours."""

    relay: Relay
    calls: CallServer
    intake: Intake | FakeIntake
    echo: Echo | None


class Health:
    """Looks after broker, database and libvirt beside the work, and never in its way."""

    def __init__(
        self, conf: cfg.ConfigOpts, core: Core, database: Database, ends: Ends, metrics: Metrics
    ) -> None:
        """Nothing is looked at yet."""
        self._conf = conf
        self._core = core
        self._kept = database
        self._ends = ends
        self._metrics = metrics
        self._workload: Workload | None = None
        self._database = Probe("database", self._read_workload, every=self._interval)
        self._libvirt = Probe("libvirt", self._ask_libvirt, every=self._interval)
        self._stack = ExitStack()
        self.unfit = Judgement(self._signs, lambda: self._interval() * MISSED)
        self.stopping = False
        metrics.read_from(self.readings)

    def start(self) -> None:
        """Begin to look and to answer; an address that is taken is no reason not to work."""
        for probe in (self._database, self._libvirt):
            probe.start()
            self._stack.callback(probe.stop)
        address = health_address(self._conf)
        try:
            listening = None if address is None else _bound(address)
        except OSError as error:
            LOG.warning("health not served: listen=%s error=%s", address, error)
            return
        if listening is not None:
            server = HealthServer(listening, application(self.told, self._metrics.text))
            server.start()
            self._stack.callback(server.stop)
        if isinstance(address, Path):
            self._stack.callback(address.unlink, missing_ok=True)

    def stop(self) -> None:
        """Look and answer no more."""
        self._stack.close()

    def told(self) -> dict[str, Any]:
        """Return what /healthz says: ``ok``, and each part with what is wrong with it."""
        parts = self.parts()
        return {
            "ok": all(part.ok for part in parts.values()) and not self.stopping,
            "state": "stopping" if self.stopping else "serving",
            "host": self._conf.host,
            "version": __version__,
            "parts": {name: part.public() for name, part in parts.items()},
        }

    def parts(self) -> dict[str, Part]:
        """Return what is known of each part, without asking any."""
        return {
            "broker": self._broker(),
            "database": self._database.seen,
            "libvirt": self._libvirt.seen,
            "pool": self._pool(),
            "operations": self._operations(),
            "outbox": self._outbox(),
        }

    def readings(self) -> Iterator[Reading]:
        """Return what is known, as numbers for Prometheus."""
        up = {"broker": self._broker(), "database": self._database.seen}
        up |= {"libvirt": self._libvirt.seen}
        yield _by("up", "Whether it answers.", {k: part.ok for k, part in up.items()}, "part")
        pool = self._pool().facts
        lanes = {name: pool[name] for name in ("busy", "queued")}
        yield _by("lanes", "Lanes that have work, and what waits in them.", lanes, "state")
        yield _one("threads", "Lanes that can be worked on at once.", pool["threads"])
        yield _one("steps_late", "Steps that run past their operation's deadline.", pool["late"])
        if self._workload is not None:
            yield from self._workload_readings(self._workload)

    def _workload_readings(self, known: Workload) -> Iterator[Reading]:
        states = {"queued": known.queued, "running": known.running}
        yield _by("operations_unfinished", "Operations without an end.", states, "state")
        yield _one("operations_stuck", "Operations that wait for an operator.", known.stuck)
        age = self._age(known.oldest_operation)
        yield _one("operations_oldest_seconds", "Age of the oldest unfinished operation.", age)
        yield _one("outbox_waiting", "Updates that are not published yet.", known.updates)
        age = self._age(known.oldest_update)
        yield _one("outbox_oldest_seconds", "Age of the oldest update not published.", age)

    def _broker(self) -> Part:
        ends = self._ends
        if isinstance(ends.intake, FakeIntake) or ends.echo is None:
            return Part(ok=True, facts={"bus": "in this process"})
        claims = {
            "intake": ends.intake.connected,
            "updates": ends.relay.connected,
            "calls": ends.calls.serving.is_set(),
            "echo": ends.echo.connected,
        }
        away = [name for name, connected in claims.items() if not connected]
        if away:
            return Part(ok=False, why=f"not connected: {', '.join(away)}")
        pulse = ends.intake.pulse
        unheard = 0.0 if ends.intake.held_up else pulse.unheard
        if unheard > BOUND:
            return Part(ok=False, why=f"a message to oneself is missing for {unheard:.0f} s")
        return Part(ok=True, milliseconds=None if pulse.trip is None else pulse.trip * 1000)

    def _pool(self) -> Part:
        busy, queued = self._core.runner.load()
        threads, late = self._conf.threads, self._core.watchman.late()
        why = None if late < threads else "every thread is in a step past its deadline"
        facts = {"threads": threads, "busy": busy, "queued": queued, "late": late}
        return Part(ok=why is None, why=why, facts=facts)

    def _operations(self) -> Part:
        known = self._workload or Workload()
        age = self._age(known.oldest_operation)
        facts = {"unfinished": known.unfinished, "oldest_seconds": age, "stuck": known.stuck}
        return Part(ok=True, facts=facts)

    def _outbox(self) -> Part:
        known = self._workload or Workload()
        age = self._age(known.oldest_update)
        why = f"nothing is published since {age:.0f} s" if age > UNPUBLISHED else None
        return Part(
            ok=why is None, why=why, facts={"waiting": known.updates, "oldest_seconds": age}
        )

    def _signs(self) -> Signs:
        ends = self._ends
        pool = self._pool().facts
        pulse = None if isinstance(ends.intake, FakeIntake) else ends.intake.pulse
        return Signs(
            listening=self._listening(),
            unheard=0.0 if pulse is None else pulse.unheard,
            threads=pool["threads"],
            late=pool["late"],
        )

    def _listening(self) -> bool:
        ends = self._ends
        if isinstance(ends.intake, FakeIntake) or ends.echo is None or self.stopping:
            return False
        connected = ends.intake.connected and ends.echo.connected
        return connected and not ends.intake.held_up and self._database.seen.ok

    def _read_workload(self) -> Mapping[str, Any]:
        self._workload = read_workload(self._kept, self._conf.host)
        return {}

    def _ask_libvirt(self) -> Mapping[str, Any]:
        with self._core.libvirt.use() as connection:
            return {"libvirt_version": connection.getLibVersion()}

    def _interval(self) -> float:
        return float(self._conf.health.interval)

    def _age(self, since: datetime | None) -> float:
        if since is None:
            return 0.0
        return round(max(0.0, (self._core.clock.now() - since).total_seconds()), 3)


def note_drift(metrics: Metrics, message: Message, answer: Mapping[str, Any]) -> None:
    """Keep what a look for drift at all instances found, whoever asked for it."""
    if message.method == "find_drift" and message.arguments.get("instance_uuid") is None:
        metrics.drift(len(answer["differences"]))


def _by(name: str, help_: str, values: Mapping[str, float], label: str) -> Reading:
    return Reading(name=f"blockworker_{name}", help=help_, values=values, label=label)


def _one(name: str, help_: str, value: float) -> Reading:
    return Reading(name=f"blockworker_{name}", help=help_, values={"": value})


def _bound(address: Path | tuple[str, int]) -> socket.socket:
    if isinstance(address, tuple):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        return socket.create_server(address, family=family)
    unbound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bind(unbound, address)
    except OSError:
        unbound.close()
        raise
    return unbound
