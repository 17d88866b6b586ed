"""Joins the core to the real world: the only module that names real adapters."""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from oslo_config import cfg

from worker.errors import DatabaseUnavailable, Invalid, Unavailable, WorkerBusy
from worker.handlers.look_at_guest import Wanted, look_at_guest
from worker.model.guest import GuestEvent
from worker.model.ids import InstanceId
from worker.model.operation import Operation
from worker.persistence import migrate
from worker.persistence.database import Database
from worker.persistence.engine import make_engine
from worker.persistence.lease import Lease
from worker.persistence.repositories import Repositories, RequestRepositories
from worker.ports import Clock, Ports
from worker.rpc.bus import BusSettings, weak_bus
from worker.rpc.dispatch import Dispatcher
from worker.rpc.local import LocalServer
from worker.rpc.methods import CALLS, OPERATIONS
from worker.rpc.server import CallServer, intake_for
from worker.rpc.updates import Relay
from worker.rpc.wire import request_from
from worker.runner import Page, Runner
from worker.steps import Bound, Recorder, Watch, wrap_outside
from worker.virt.connection import LibvirtConnection
from worker.virt.disks import LibvirtGuestDisks
from worker.virt.guests import LibvirtGuests
from worker.virt.private import PrivateLibvirtd
from worker.volume.brick import BrickConnector
from worker.volume.pool.attachments import PoolAttachments
from worker.volume.pool.status import PoolStatus
from worker.volume.pool.volumes import FilePool

LOG = logging.getLogger(__name__)

CALL_SECONDS = 2.0
"""What a call may take outside the database, for a caller waits (DESIGN section 2)."""

RENEW_SECONDS = 10.0
"""A third of what a lease lasts."""

PRIVATE = "private"


class SystemClock(Clock):
    """The machine's own time."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        return time.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """The adapters of everything outside, made once a worker."""

    guests: LibvirtGuests
    disks: LibvirtGuestDisks
    volumes: PoolStatus
    attachments: PoolAttachments
    pool: FilePool
    connector: BrickConnector


def state_path(conf: cfg.ConfigOpts) -> Path:
    """Return the worker's own folder, made if need be, with mode 0700."""
    path = Path(conf.state_path)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        message = f"the state folder {path} cannot be made ({error.strerror}); set state_path"
        raise Invalid(message) from error
    return path


def make_database(conf: cfg.ConfigOpts) -> Database:
    """Return the database; nothing is connected yet."""
    url = conf.database.connection or f"sqlite:///{state_path(conf) / 'blockworker.sqlite'}"
    return Database(make_engine(url))


def check_schema(conf: cfg.ConfigOpts, database: Database) -> None:
    """Raise Invalid unless the schema is this release's; the built-in default brings it there."""
    if conf.database.connection is None:
        migrate.upgrade(database.engine)
    wrong = migrate.check(database.engine)
    if wrong is not None:
        raise Invalid(wrong)


def hypervisor_uri(conf: cfg.ConfigOpts) -> str:
    """Return libvirt's URI; the private libvirtd is started for it."""
    if conf.hypervisor.uri != PRIVATE:
        return str(conf.hypervisor.uri)
    return PrivateLibvirtd(state_path(conf) / "libvirt").start()


class Core:
    """The runner and the dispatcher on real adapters; no bus yet.

    It reads the database, and acts outside only when asked to.
    """

    def __init__(
        self, conf: cfg.ConfigOpts, database: Database, uri: str, watches: Sequence[Watch] = ()
    ) -> None:
        """``watches`` see every outside call of an operation, from around it."""
        self._conf = conf
        self._watches = watches
        self.clock = SystemClock()
        self.repositories = Repositories(database, conf.host, self.clock)
        self.libvirt = LibvirtConnection(uri)
        self.outside = make_outside(conf, self.libvirt, self.repositories)
        self._bound = Bound(CALL_SECONDS, threads=conf.threads)
        self.runner = Runner(OPERATIONS, self._open_page, threads=conf.threads)
        self.dispatcher = Dispatcher(self.open_call, self.runner.submit)

    @contextmanager
    def open_call(self) -> Iterator[Ports]:
        """Lend the ports of one call; what it wrote is committed when it succeeds."""
        repositories = self.repositories.for_call()
        yield wrap_outside(self._ports(repositories), self._bound.call)
        repositories.unit.commit()

    def start(self) -> None:
        """Take up what an earlier worker left, then listen to what guests do."""
        self.runner.recover(self.repositories.operations.unfinished())
        self.libvirt.subscribe(self._on_event)

    def stop(self, seconds: float) -> bool:
        """Let running operations end; return whether they did in time."""
        done = self.runner.stop(seconds)
        self.libvirt.close()
        self._bound.close()
        return done

    def _open_page(self, operation: Operation) -> Page:
        repositories = self.repositories.for_operation(operation)
        if repositories.record is None:
            raise AssertionError
        recorder = Recorder(repositories.record, self._watches)
        ports = wrap_outside(self._ports(repositories), recorder.step)
        return Page(record=repositories.record, ports=ports)

    def _ports(self, repositories: RequestRepositories) -> Ports:
        return Ports(
            host=self._conf.host,
            max_disk_devices=self._conf.max_disk_devices,
            guests=self.outside.guests,
            disks=self.outside.disks,
            volumes=self.outside.volumes,
            attachments=self.outside.attachments,
            pool=self.outside.pool,
            connector=self.outside.connector,
            devices=repositories.devices,
            connections=repositories.connections,
            instances=repositories.instances,
            updates=repositories.updates,
            operations=self.repositories.operations,
            progress=repositories.progress,
            clock=self.clock,
        )

    def _on_event(self, event: GuestEvent) -> None:
        self.runner.enter(event.instance, partial(self._look, event.instance))

    def _look(self, instance: InstanceId) -> None:
        try:
            with self.open_call() as ports:
                wanted = look_at_guest(instance, ports)
            for request in wanted:
                self.dispatcher.submit_own(_method_of(request), **asdict(request))
        except Unavailable as error:
            LOG.warning("guest not looked at: instance=%s error=%s", instance, error)


def _method_of(request: Wanted) -> str:
    return next(name for name, kind in OPERATIONS.items() if kind.request is type(request))


def make_outside(
    conf: cfg.ConfigOpts, connection: LibvirtConnection, repositories: Repositories
) -> Outside:
    """Return the adapters that the configuration asks for; nothing is connected yet."""
    folder = state_path(conf)
    return Outside(
        guests=LibvirtGuests(connection),
        disks=LibvirtGuestDisks(
            connection,
            detach_retry_interval=conf.hypervisor.detach_retry_interval,
            detach_attempts=conf.hypervisor.detach_attempts,
        ),
        volumes=PoolStatus(records=repositories.pool),
        attachments=PoolAttachments(records=repositories.pool, host=conf.host),
        pool=FilePool(
            records=repositories.pool, folder=Path(conf.volume.pool_path or folder / "volumes")
        ),
        connector=BrickConnector(
            host=conf.host,
            my_ip=conf.volume.my_ip,
            lock_path=str(conf.volume.lock_path or folder / "locks"),
            multipath=conf.volume.multipath,
            enforce_multipath=conf.volume.enforce_multipath,
        ),
    )


class Worker:
    """A whole worker: one lease, the core, the bus and the local socket."""

    def __init__(self, conf: cfg.ConfigOpts, watches: Sequence[Watch] = ()) -> None:
        """Nothing is opened yet."""
        self._conf = conf
        self._watches = watches
        self._stack = ExitStack()
        self.lost = threading.Event()

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
        """Take no more, let running operations end, tell what is left to tell, let go."""
        self._stack.close()

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
        stack.callback(core.stop, self._conf.graceful_timeout)
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
        stack.callback(lease.release)
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
            except DatabaseUnavailable as error:
                LOG.warning("lease not renewed: host=%s error=%s", self._conf.host, error)


def bus_settings(conf: cfg.ConfigOpts) -> BusSettings:
    """Return which bus is meant, and how it is used."""
    url = str(conf.transport_url)
    return BusSettings(
        url=url,
        host=conf.host,
        quorum=conf.bus.quorum and not lives_in_process(url),
        threads=conf.threads,
        prefetch=conf.bus.prefetch,
        delivery_limit=conf.bus.delivery_limit,
    )


def lives_in_process(url: str) -> bool:
    """Tell whether the bus is no broker, so that there is nothing durable about it."""
    return url.startswith(("kombu+memory:", "fake:"))


def socket_path(conf: cfg.ConfigOpts) -> Path:
    """Return where the worker of this state folder listens for commands."""
    return Path(conf.state_path) / "control.sock"


@contextmanager
def onlooker(conf: cfg.ConfigOpts, uri: str) -> Iterator[Core]:
    """Lend a core that serves nothing: for reading beside a worker, or without one."""
    database = make_database(conf)
    wrong = migrate.check(database.engine)
    if wrong is not None:
        raise Invalid(wrong)
    core = Core(conf, database, uri)
    try:
        yield core
    finally:
        core.stop(0.0)


def read(conf: cfg.ConfigOpts, method: str, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Answer a reading call from the database, without a worker."""
    request = request_from(CALLS[method].request, arguments)
    with onlooker(conf, str(conf.hypervisor.uri)) as core, core.open_call() as ports:
        return CALLS[method].handler(request, ports)
