"""``python -m tests.bench.instant --config-file FILE``: ``serve`` on a world that answers at once.

All of the worker is the real one, but for what it would wait for: the volume service, the
connector and the hypervisor are the tests' fakes, in memory. libvirt's own test driver takes the
place of libvirtd, so that the worker holds a connection as it always does.
"""

import argparse
import gc
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

from oslo_config import cfg
from oslo_log import log

from tests import fakes
from tests.bench import crowd
from tests.bench.crowd import instance
from tests.fakes.world import FakeGuest, World
from worker import conf as options
from worker import wiring
from worker.model.ids import VolumeId
from worker.model.volume import Volume, VolumeStatus
from worker.persistence.database import Database
from worker.steps import OUTSIDE, Watcher

URI = "test:///default"
INSTANCES = 8

POOLED = frozenset({"volumes", "attachments", "pool", "connector"})
"""The ports that reach the built-in pool."""


def volume(number: int) -> VolumeId:
    """Return the id of one of the volumes that there are, one a guest."""
    return VolumeId(f"00000000-0000-4000-9000-{number:012d}")


class OneAtATime:
    """A port whose calls hold a lock: the fakes share dictionaries, and lanes run side by side."""

    def __init__(self, port: object, lock: threading.RLock) -> None:
        self._port = port
        self._lock = lock

    def __getattr__(self, method: str) -> Callable[..., Any]:
        call = getattr(self._port, method)

        def locked(*args: object, **kwargs: object) -> object:
            with self._lock:
                return call(*args, **kwargs)

        return locked


class InstantCore(wiring.Core):
    """The core beside a world of its own; ``crowd`` is how many built guests are in it.

    ``pooled`` is whether the volumes are the pool's, as they really are, and not the world's.
    """

    crowd: ClassVar[int] = 0
    pooled: ClassVar[bool] = False

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        database: Database,
        uri: str,
        watchers: Sequence[Watcher] = (),
    ) -> None:
        super().__init__(conf, database, uri, watchers)
        ports, lock = fakes.ports(_world(self.crowd)), threading.RLock()
        faked = set(OUTSIDE) - (POOLED if self.pooled else frozenset())
        locked = {name: OneAtATime(getattr(ports, name), lock) for name in faked}
        self.outside = replace(self.outside, **cast("dict[str, Any]", locked))


def _world(built: int) -> World:
    """Guests without disks that may be adopted, or so many that were built with theirs."""
    found = World(guests={instance(number): crowd.guest(number) for number in range(built)})
    if built:
        return found
    for number in range(INSTANCES):
        found.guests[instance(number)] = FakeGuest(name=f"guest-{number}")
        found.volumes[volume(number)] = Volume(
            id=volume(number), size=1 << 30, status=VolumeStatus.AVAILABLE
        )
    return found


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config-file", type=Path, required=True)
    parser.add_argument("--instances", type=int, default=0)
    parser.add_argument("--pool", action="store_true")
    arguments = parser.parse_args()
    InstantCore.crowd = arguments.instances
    InstantCore.pooled = arguments.pool
    conf = options.load([arguments.config_file])
    log.set_defaults(default_log_levels=[*log.get_default_log_levels(), "alembic=WARN"])
    log.setup(conf, "blockworker")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    worker = wiring.Worker(conf, core=InstantCore)
    worker.start()
    gc.freeze()  # as ``serve`` does
    stop.wait()
    worker.stop()


if __name__ == "__main__":
    main()
