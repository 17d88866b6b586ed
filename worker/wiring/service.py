"""The worker as a service: the lease, and the order in which things start and stop."""

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial

from oslo_config import cfg

from worker import __version__
from worker.errors import Unavailable, WorkerBusy
from worker.health.metrics import Metrics
from worker.persistence.database import Database
from worker.persistence.lease import Lease
from worker.rpc.bus import BusSettings
from worker.rpc.echo import Echo
from worker.rpc.intake import Intake
from worker.rpc.local import LocalServer
from worker.rpc.safety import unsafe_on_broker, unsafe_settings
from worker.rpc.server import CallServer, FakeIntake, intake_for
from worker.rpc.updates import Relay
from worker.steps import Watcher
from worker.wiring.core import CALL_SECONDS, Core, SystemClock
from worker.wiring.health import Ends, Health, note_drift
from worker.wiring.holder import owner
from worker.wiring.late_rescues import LateRescues
from worker.wiring.missing import MissingVolumes
from worker.wiring.places import socket_path
from worker.wiring.reservations import Reservations
from worker.wiring.settings import (
    bus_settings,
    health_address,
    hypervisor_uri,
    make_database,
    state_path,
    wait_for_schema,
)
from worker.wiring.volumes import name_what_is_lacking

LOG = logging.getLogger(__name__)

RENEW_SECONDS = 10.0
"""A third of what a lease lasts."""

LAST_WORDS = 2.0
"""Seconds that the database gets for the very last of a stop."""


class Stops:
    """How the time of a stop is shared out: a part for each end of the bus, and what is left."""

    def __init__(self, grace: float) -> None:
        """Begin to count: all of it may take so many seconds."""
        self._grace = grace
        self._deadline = time.monotonic() + grace

    def hearing(self) -> float:
        """Return the seconds that one ear may take to close."""
        return min(5.0, self._grace / 8)

    def telling(self) -> float:
        """Return the seconds that the outbox may take to be published."""
        return min(CALL_SECONDS, self._grace / 8)

    def working(self) -> float:
        """Return the seconds that running operations have left."""
        rest = self._deadline - time.monotonic() - 2 * self.telling()
        return max(0.0, rest)


class Worker:
    """A whole worker: one lease, the core, the bus and the local socket."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        watchers: Sequence[Watcher] = (),
        core: type[Core] = Core,
        *,
        beside_api: bool = False,
    ) -> None:
        """Nothing is opened yet; ``core`` is made when the lease is held.

        ``beside_api`` says that whoever asks over a bus of this process ends with it, unanswered.
        """
        self._conf = conf
        self._within = beside_api
        self._watchers = watchers
        self._make_core = core
        self._stack = ExitStack()
        self._stops = Stops(float(conf.graceful_timeout))
        self._health: Health | None = None
        self.lost = threading.Event()
        self.unended = False

    def start(self) -> None:
        """Take the lease, take up what was left, then serve; keeps trying for the database.

        Raises WorkerBusy while another worker has the host or the state folder, Invalid for a
        schema of another release. A broker or libvirt that is away is waited for while it serves.
        """
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        LOG.info("worker serves: host=%s state_path=%s", self._conf.host, self._conf.state_path)

    def stop(self) -> None:
        """Take no more, let running operations end, tell what is left to tell, let go.

        All within ``graceful_timeout``; readings are answered at the local socket until the end.
        ``unended`` says afterwards that some did not end in time. They still run, so the lease
        is kept until the process is gone; to end it at once is for the caller, and is to them
        what a crash is: the next worker takes them up.
        """
        # Whoever took the lease may run the same operations: there is nothing to wait for.
        grace = 0.0 if self.lost.is_set() else float(self._conf.graceful_timeout)
        self._stops = Stops(grace)
        LOG.info("worker stops: host=%s graceful_timeout=%.1f", self._conf.host, grace)
        self._stack.close()

    def unfit(self) -> str | None:
        """Return what only a start can mend; None while there is no such thing."""
        return None if self._health is None else self._health.unfit()

    def _start(self, stack: ExitStack) -> None:
        settings = bus_settings(self._conf)
        health_address(self._conf)
        for unsafe in () if self._within and settings.in_process else unsafe_settings(settings):
            LOG.warning("bus is unsafe: %s", unsafe)
        database = make_database(self._conf)
        wait_for_schema(self._conf, database)
        self._hold_lease(database, stack)
        metrics = Metrics(__version__)
        watchers = (*self._watchers, lambda _operation: metrics.step)
        core = self._make_core(self._conf, database, hypervisor_uri(self._conf), watchers)
        _count(core, metrics)
        local = LocalServer(socket_path(self._conf), core.dispatcher)
        stack.callback(local.stop)
        # Asked until the end: an operator wants to see a stop go on.
        stack.callback(self._stop_health)
        relay = Relay(settings, core.repositories.outbox)
        relay.start()
        stack.callback(lambda: relay.stop(self._stops.telling()))
        stack.callback(self._stop_core, core)
        core.start()
        local.start()
        ends = self._open_bus(settings, core, relay, stack)
        self._health = Health(self._conf, core, database, ends, metrics)
        self._health.start()
        reservations = Reservations(
            core.open_call,
            core.dispatcher,
            lambda: self._conf.reservation_ttl,
            ends.intake.backlog_taken,
        )
        missing = MissingVolumes(
            core.open_call,
            core.dispatcher,
            lambda: self._conf.hypervisor.missing_volume_interval,
        )
        late = LateRescues(core.open_call, core.dispatcher, lambda: self._conf.rescue_timeout)
        for sweep in (reservations, missing, late):
            stack.callback(sweep.stop)
            sweep.start()
        stack.callback(self._leave, local, self._health)

    def _stop_health(self) -> None:
        if self._health is not None:
            self._health.stop()

    def _open_bus(self, settings: BusSettings, core: Core, relay: Relay, stack: ExitStack) -> Ends:
        calls = CallServer(settings, core.dispatcher)
        intake = intake_for(settings, core.dispatcher)
        for server in (calls, intake):
            server.start()
            stack.callback(self._stop_ear, server)
        echo = None
        if isinstance(intake, Intake):
            echo = Echo(settings, intake.pulse, every=lambda: self._conf.health.interval)
            echo.start()
            stack.callback(self._stop_ear, echo)
        threading.Thread(target=_name_what_the_broker_has, args=(settings,), daemon=True).start()
        name_what_is_lacking(self._conf)
        return Ends(relay=relay, calls=calls, intake=intake, echo=echo)

    def _stop_ear(self, ear: CallServer | Intake | FakeIntake | Echo) -> None:
        ear.stop(self._stops.hearing())

    @staticmethod
    def _leave(local: LocalServer, health: Health) -> None:
        health.stopping = True
        local.leave()

    def _stop_core(self, core: Core) -> None:
        self.unended = not core.stop(self._stops.working())
        if self.unended:
            LOG.warning("operations left to the next start: host=%s", self._conf.host)

    def _hold_lease(self, database: Database, stack: ExitStack) -> None:
        lease = Lease(database, self._conf.host, owner(), state_path(self._conf), SystemClock())
        lease.acquire()
        stack.callback(self._release, lease)
        stop = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(lease, stop), daemon=True)
        keeper.start()
        stack.callback(keeper.join, LAST_WORDS)
        stack.callback(stop.set)

    def _release(self, lease: Lease) -> None:
        """Give the lease back, unless operations still run; else it runs out by itself."""
        if self.unended:
            return
        giving_back = threading.Thread(target=_give_back, args=(lease,), daemon=True)
        giving_back.start()
        giving_back.join(LAST_WORDS)

    def _keep(self, lease: Lease, stop: threading.Event) -> None:
        while not stop.wait(RENEW_SECONDS):
            try:
                lease.renew()
            except WorkerBusy as error:
                LOG.critical("lease lost: host=%s error=%s", self._conf.host, error)
                self.lost.set()
                return
            except Exception as error:  # noqa: BLE001 - a keeper that dies gives the lease away
                LOG.warning("lease not renewed: host=%s error=%s", self._conf.host, error)


def _give_back(lease: Lease) -> None:
    try:
        lease.release()
    except Unavailable as error:
        LOG.warning("lease not given back, it runs out by itself: error=%s", error)


def _name_what_the_broker_has(settings: BusSettings) -> None:
    """Beside the start: a broker that does not answer is named elsewhere."""
    with suppress(Unavailable):
        for unsafe in unsafe_on_broker(settings):
            LOG.warning("bus is unsafe: %s", unsafe)


def _count(core: Core, metrics: Metrics) -> None:
    core.on_end = metrics.ended
    core.dispatcher.on_answer = partial(note_drift, metrics)
    core.tally = metrics
