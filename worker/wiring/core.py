"""The core on real adapters: what reads and acts, before there is a bus."""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from oslo_config import cfg

from worker.errors import Invalid, Unavailable
from worker.execution import Page
from worker.handlers.look_at_guest import Wanted, look_at_guest
from worker.model.guest import GuestEvent
from worker.model.ids import InstanceId
from worker.model.operation import Operation
from worker.persistence import migrate
from worker.persistence.database import Database
from worker.persistence.repositories import Repositories, RequestRepositories
from worker.ports import Clock, Ports
from worker.rpc.dispatch import Dispatcher
from worker.rpc.methods import CALLS, OPERATIONS
from worker.rpc.wire import request_from
from worker.runner import Runner
from worker.steps import Bound, Recorder, Watch, wrap_outside
from worker.virt.connection import LibvirtConnection
from worker.virt.disks import LibvirtGuestDisks
from worker.virt.guests import LibvirtGuests
from worker.volume.brick import BrickConnector
from worker.volume.pool.attachments import PoolAttachments
from worker.volume.pool.status import PoolStatus
from worker.volume.pool.volumes import FilePool
from worker.wiring.settings import make_database, state_path

LOG = logging.getLogger(__name__)

LOOK_AGAIN = 5.0
"""Seconds after which a guest that could not be looked at is looked at again."""

CALL_SECONDS = 2.0
"""What a call may take outside the database, for a caller waits (DESIGN section 2)."""


class SystemClock(Clock):
    """The machine's own time."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """The adapters of everything outside, made once a worker."""

    guests: LibvirtGuests
    disks: LibvirtGuestDisks
    volumes: PoolStatus
    attachments: PoolAttachments
    pool: FilePool
    connector: BrickConnector


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
        # A little less than a call may take, so that the caller hears whose fault it is.
        self.libvirt = LibvirtConnection(uri, patience=CALL_SECONDS * 0.75)
        self.outside = make_outside(conf, self.libvirt, self.repositories)
        self._bound = Bound(CALL_SECONDS, threads=conf.threads)
        self.runner = Runner(OPERATIONS, self._open_page, threads=conf.threads)
        self._awaiting_look: set[InstanceId] = set()
        self.dispatcher = Dispatcher(self.open_call, self.runner.submit)

    @contextmanager
    def open_call(self) -> Iterator[Ports]:
        """Lend the ports of one call; what it wrote is committed when it succeeds."""
        repositories = self.repositories.for_call()
        yield wrap_outside(self._ports(repositories), self._bound.call)
        repositories.unit.commit()

    def start(self) -> None:
        """Take up what an earlier worker left, look at each guest, and listen to what they do."""
        self.runner.recover(self.repositories.operations.unfinished())
        with self.open_call() as ports:
            known = ports.instances.list()
        for instance in known:
            self._enter_look(instance.uuid)
        self.libvirt.subscribe(self._on_event)

    def stop(self, seconds: float) -> bool:
        """Let running operations end; return whether they did in time.

        From those that did not nothing is taken away: they would see it as a failure, and end.
        """
        done = self.runner.stop(seconds)
        if done:
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
            stuck=repositories.stuck,
            progress=repositories.progress,
            clock=self.clock,
        )

    def _on_event(self, event: GuestEvent) -> None:
        self._enter_look(event.instance)

    def _enter_look(self, instance: InstanceId) -> None:
        """Have the guest looked at; a look that is still to come will see this as well."""
        if instance not in self._awaiting_look:
            self._awaiting_look.add(instance)
            self.runner.enter(instance, partial(self._look, instance))

    def _look(self, instance: InstanceId) -> None:
        self._awaiting_look.discard(instance)
        try:
            with self.open_call() as ports:
                wanted = look_at_guest(instance, ports)
            for request in wanted:
                self.dispatcher.submit_own(_method_of(request), **asdict(request))
        except Unavailable as error:
            LOG.warning("guest not looked at yet: instance=%s error=%s", instance, error)
            self._awaiting_look.add(instance)
            look = partial(self.runner.enter, instance, partial(self._look, instance))
            again = threading.Timer(LOOK_AGAIN, look)
            again.daemon = True
            again.start()


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
