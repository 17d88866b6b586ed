"""The worker as a service: the lease, and the order in which things start and stop."""

import logging
import os
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack

from oslo_config import cfg

from worker.errors import DatabaseUnavailable, WorkerBusy
from worker.persistence.database import Database
from worker.persistence.lease import Lease
from worker.rpc.bus import weak_bus
from worker.rpc.local import LocalServer
from worker.rpc.server import CallServer, intake_for
from worker.rpc.updates import Relay
from worker.steps import Watch
from worker.wiring.core import CALL_SECONDS, Core, SystemClock
from worker.wiring.settings import (
    bus_settings,
    check_schema,
    hypervisor_uri,
    make_database,
    socket_path,
    state_path,
)

LOG = logging.getLogger(__name__)

RENEW_SECONDS = 10.0
"""A third of what a lease lasts."""


class Worker:
    """A whole worker: one lease, the core, the bus and the local socket."""

    def __init__(self, conf: cfg.ConfigOpts, watches: Sequence[Watch] = ()) -> None:
        """Nothing is opened yet."""
        self._conf = conf
        self._watches = watches
        self._stack = ExitStack()
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

        ``unended`` says afterwards that some did not end in time. They still run, so the lease
        is kept until the process is gone; to end it at once is for the caller, and is to them
        what a crash is: the next worker takes them up.
        """
        self._stack.close()

    def _stop_core(self, core: Core) -> None:
        # Whoever took the lease may run the same operations: there is nothing to wait for.
        grace = 0.0 if self.lost.is_set() else self._conf.graceful_timeout
        self.unended = not core.stop(grace)
        if self.unended:
            LOG.warning("operations left to the next start: host=%s", self._conf.host)

    def _release(self, lease: Lease) -> None:
        if not self.unended:
            lease.release()

    def _start(self, stack: ExitStack) -> None:
        settings = bus_settings(self._conf)
        weak = weak_bus(settings)
        if weak is not None:
            LOG.warning("bus is weak: %s", weak)
        database = make_database(self._conf)
        self._wait_for(database)
        self._hold_lease(database, stack)
        core = Core(self._conf, database, hypervisor_uri(self._conf), self._watches)
        relay = Relay(settings, core.repositories.outbox)
        relay.start()
        stack.callback(relay.stop, CALL_SECONDS)
        stack.callback(self._stop_core, core)
        core.start()
        local = LocalServer(socket_path(self._conf), core.dispatcher)
        local.start()
        stack.callback(local.stop)
        for server in (
            CallServer(settings, core.dispatcher),
            intake_for(settings, core.dispatcher),
        ):
            server.start()
            stack.callback(server.stop)

    def _wait_for(self, database: Database) -> None:
        pause = 1.0
        while True:
            try:
                check_schema(self._conf, database)
            except DatabaseUnavailable as error:
                LOG.warning("database away: error=%s retry_in=%.0f", error, pause)
                time.sleep(pause)
                pause = min(30.0, pause * 2)
            else:
                return

    def _hold_lease(self, database: Database, stack: ExitStack) -> None:
        owner = f"process {os.getpid()} on {socket.gethostname()}"
        lease = Lease(database, self._conf.host, owner, state_path(self._conf), SystemClock())
        lease.acquire()
        stack.callback(self._release, lease)
        stop = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(lease, stop), daemon=True)
        keeper.start()
        stack.callback(keeper.join)
        stack.callback(stop.set)

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
