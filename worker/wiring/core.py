"""The core on real adapters: what reads and acts, before there is a bus."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from oslo_config import cfg

from worker.errors import Invalid
from worker.execution import Page, tell_nobody
from worker.model.identity.lookup import DeviceKind
from worker.model.instance import Instance
from worker.model.operation import Operation, StepOutcome
from worker.model.source import DiskFormat
from worker.persistence import migrate
from worker.persistence.database import Database
from worker.persistence.journal.seals import HostSeals
from worker.persistence.repositories import Repositories, RequestRepositories
from worker.ports import (
    Clock,
    Ports,
    Tally,
)
from worker.rpc.dispatch import Dispatcher
from worker.rpc.methods import CALLS, OPERATIONS
from worker.rpc.reading import request_from
from worker.runner import Runner
from worker.sharing import LaneSharing, PatientSharing
from worker.steps import Around, Bound, Recorder, Watcher, port_of, wrapped
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.libvirtd.memory import Memory
from worker.watchman import Watchman
from worker.wiring.boots import Boots
from worker.wiring.exports import make_exports
from worker.wiring.looks import Looks
from worker.wiring.outside import make_outside
from worker.wiring.settings import PRIVATE, known_uri, make_database, rescue_settings, state_path
from worker.wiring.waiting import Waiting

LOG = logging.getLogger(__name__)

CALL_SECONDS = 2.0
"""What a call may take outside the database, for a caller waits (DESIGN section 2)."""


UNHURRIED_SECONDS = 7 * 24 * 3600.0
"""When an operation is late whose time is that of its data."""

CHANGES_GUESTS = frozenset({"disks", "block_copies", "guest_peripherals"})
"""The ports in whose calls a libvirtd that dies may leave a ghost."""

NOT_UP = "the private libvirtd does not run; `blockworker serve` starts it"


class SystemClock(Clock):
    """The machine's own time."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC)


class Uncounted(Tally):
    """For a core that nobody watches."""

    def found_by_facts(self, kind: DeviceKind) -> None:
        """Count nothing."""


class Core:
    """The runner and the dispatcher on real adapters; no bus yet.

    It reads the database, and acts outside only when asked to.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        database: Database,
        uri: str,
        watchers: Sequence[Watcher] = (),
        *,
        serves: bool = True,
    ) -> None:
        """The watches of ``watchers`` see every outside call of an operation, from around it.

        One that serves remembers for the next how libvirtd stood.
        """
        self._conf = conf
        self._watchers = watchers
        self.on_end: Callable[[Operation], None] = tell_nobody
        self.clock = SystemClock()
        self.tally: Tally = Uncounted()
        self.repositories = Repositories(database, conf.host, self.clock)
        # A little less than a call may take, so that the caller hears whose fault it is.
        memory = Memory(state_path(conf), uri, keep=serves)
        self.libvirt = LibvirtConnection(uri, patience=CALL_SECONDS * 0.75, memory=memory)
        self.exports = make_exports(conf, self.repositories)
        self.outside = make_outside(conf, self.libvirt, self.repositories, self.exports)
        self._bound = Bound(CALL_SECONDS, threads=conf.threads)
        self._sharing = LaneSharing()
        self._seals = HostSeals(state_path(conf) / "host.key")
        self.watchman = Watchman(lambda: conf.slow_step, self.repositories.operations.mark_late)
        self.runner = Runner(OPERATIONS, self._open_page, threads=conf.threads)
        self.dispatcher = Dispatcher(
            self.open_call, self.runner.submit, submit_new=self.runner.submit_new
        )
        self._looks = Looks(self.open_call, self.runner, self.dispatcher)

    @contextmanager
    def open_call(self) -> Iterator[Ports]:
        """Lend the ports of one call; what it wrote is committed when it succeeds."""
        repositories = self.repositories.for_call()
        late_at = time.monotonic() + CALL_SECONDS
        yield self._ports(repositories, late_at, self._bound.call)
        repositories.unit.commit()

    def start(self) -> None:
        """Take up what an earlier worker left, look at each guest, and listen to what they do."""
        self.watchman.start()
        self.exports.start()
        unfinished = self.repositories.operations.unfinished()
        self._doubt_guests_of(unfinished)
        with self.open_call() as ports:
            known = ports.instances.list()
        # Before the first look, which may come at the end of what is recovered.
        self._resume(known)
        self.runner.recover(unfinished)
        self._looks.enter_first([instance.uuid for instance in known])
        self.libvirt.subscribe(self._looks.on_event)

    def _resume(self, known: Sequence[Instance]) -> None:
        """After a boot of the host, bring back what ran; remembered when all of it is journaled."""
        boots = Boots(state_path(self._conf))
        wanted = self._conf.hypervisor.resume_guests_on_start and boots.another()
        ran = [instance.uuid for instance in known if wanted]
        if ran:
            LOG.info("host was booted: looking for guests that ran: instances=%d", len(ran))
        self._looks.resume(ran, boots.keep)

    def _doubt_guests_of(self, unfinished: Sequence[Operation]) -> None:
        """Where a worker died while it changed a guest, libvirtd may have died with it, unseen."""
        for operation in unfinished:
            cut_off = any(
                port_of(step.name) in CHANGES_GUESTS and step.outcome is StepOutcome.OPEN
                for step in operation.steps
            )
            if operation.instance is not None and cut_off:
                self.libvirt.doubt(operation.instance)

    def stop(self, seconds: float) -> bool:
        """Let running operations end; return whether they did in time.

        From those that did not nothing is taken away: they would see it as a failure, and end.
        """
        done = self.runner.stop(seconds)
        self.watchman.stop()
        if done:
            self.libvirt.close()
            self.exports.stop()
        self._bound.close()
        return done

    def _open_page(self, operation: Operation) -> Page:
        repositories = self.repositories.for_operation(operation, self.runner.rest)
        if repositories.record is None:
            raise AssertionError
        timeout = self._timeout(operation)
        watched = self.watchman.watch(operation, timeout)
        watches = (watcher(operation) for watcher in self._watchers)
        recorder = Recorder(repositories.record, (watched, *watches))
        late_at = time.monotonic() + timeout
        waiting = Waiting(self._patience(late_at), self.runner.rest)

        def around(name: str, call: Callable[[], Any]) -> Any:  # noqa: ANN401 - any port's answer
            return waiting.call(name, lambda: recorder.step(name, call))

        return Page(
            record=repositories.record,
            ports=self._ports(repositories, late_at, around),
            deadline=self.clock.now() + timedelta(seconds=timeout),
            on_end=partial(self._looks.on_end, self.on_end),
            on_close=partial(self.watchman.ended, operation),
            rest=self.runner.rest,
        )

    def _timeout(self, operation: Operation) -> float:
        kind = OPERATIONS.get(operation.method)
        unhurried = kind is not None and kind.unhurried
        return UNHURRIED_SECONDS if unhurried else float(self._conf.operation_timeout)

    def _patience(self, late_at: float) -> Callable[[], float]:
        """Return what says how long a failing call is tried: never past the deadline."""
        return lambda: min(self._conf.outage_patience, late_at - time.monotonic())

    def _ports(self, repositories: RequestRepositories, late_at: float, around: Around) -> Ports:
        return Ports(
            host=self._conf.host,
            max_disk_devices=self._conf.max_disk_devices,
            shutdown_timeout=self._conf.hypervisor.shutdown_timeout,
            local_disk_format=DiskFormat(self._conf.image.local_disks),
            rescue=rescue_settings(self._conf),
            **wrapped(self.outside, around),
            sharing=PatientSharing(self._sharing, lambda: late_at - time.monotonic()),
            devices=repositories.devices,
            peripherals=repositories.peripherals,
            connections=repositories.connections,
            instances=repositories.instances,
            moves=repositories.moves,
            own_operations=repositories.own_operations,
            updates=repositories.updates,
            operations=self.repositories.operations,
            stuck=repositories.stuck,
            cancelling=self.repositories.cancelling,
            progress=repositories.progress,
            seals=self._seals,
            tally=self.tally,
            clock=self.clock,
        )


@contextmanager
def onlooker(conf: cfg.ConfigOpts, uri: str) -> Iterator[Core]:
    """Lend a core that serves nothing: for reading beside a worker, or without one."""
    database = make_database(conf)
    wrong = migrate.check(database.engine)
    if wrong is not None:
        raise Invalid(wrong)
    core = Core(conf, database, uri, serves=False)
    try:
        yield core
    finally:
        core.stop(0.0)


def read(conf: cfg.ConfigOpts, method: str, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Answer a reading call from the database, without a worker."""
    request = request_from(CALLS[method].request, arguments)
    uri = known_uri(conf)
    with onlooker(conf, uri or PRIVATE) as core:
        if uri is None:
            core.libvirt.close(NOT_UP)
        with core.open_call() as ports:
            return CALLS[method].handler(request, ports)
