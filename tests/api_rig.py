"""The API over a worker in this process: its world is a fake, bus and database are real ones."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from falcon.testing import Result, simulate_request
from oslo_config import cfg
from sqlalchemy import update

from tests import fakes
from tests.bench.instant import OneAtATime
from tests.bus_worker import fresh_name
from tests.fakes.images import FakeImageListing
from tests.fakes.volume_service import WorldPool
from tests.fakes.world import FakeGuest, World
from worker import conf as options
from worker import wiring
from worker.api.application import Application, Front
from worker.api.front.open_door import PROJECT
from worker.api.routes import ROUTES
from worker.api.services import Services
from worker.model.ids import InstanceId, VolumeId, new_uuid
from worker.model.volume import GIB, Volume, VolumeStatus
from worker.persistence.database import Database
from worker.persistence.fleet.pool import FleetPool
from worker.persistence.schema import INSTANCES
from worker.ports import Outside
from worker.rpc.client import Client
from worker.steps import OUTSIDE, Watcher
from worker.wiring.api import make_front, make_services
from worker.wiring.core import Core

Json = dict[str, Any]

TEST_DRIVER = "test:///default"
NEWEST = "2.101"


@dataclass(frozen=True, kw_only=True)
class Response:
    """What came back."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def message(self) -> str:
        """The message of a fault."""
        if "message" in self.body:
            return str(self.body["message"])
        (fault,) = self.body.values()
        return str(fault["message"])


@dataclass(kw_only=True)
class ApiRig:
    """An API, the worker behind it, and the world behind that.

    While ``stalled`` is held the world answers no worker: what was accepted stays in the journal.
    """

    conf: cfg.ConfigOpts
    world: World
    services: Services
    application: Application
    database: Database
    client: Client
    headers: dict[str, str] = field(default_factory=dict)
    stalled: threading.RLock = field(default_factory=threading.RLock)

    @property
    def host(self) -> str:
        return str(self.conf.host)

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        version: str = NEWEST,
        headers: Mapping[str, str] | None = None,
        query: str = "",
    ) -> Response:
        """Ask as a client of the compute API would; ``body`` is sent as JSON."""
        sent = {"OpenStack-API-Version": f"compute {version}", **self.headers}
        sent |= {"Content-Type": "application/json"} if body is not None else {}
        sent |= headers or {}
        result = simulate_request(
            self.application,
            method,
            path,
            host="localhost",
            headers=sent,
            query_string=query,
            body=None if body is None else json.dumps(body),
        )
        return _response(result)

    def server(self, project: str = PROJECT) -> InstanceId:
        """Return an adopted instance, whose guest runs, of that project."""
        instance = InstanceId(new_uuid())
        self.world.guests[instance] = FakeGuest(name=f"guest-{instance[:8]}")
        self.client.adopt_instance(self.host, domain=self.world.guests[instance].name)
        owned = update(INSTANCES).where(INSTANCES.c.uuid == instance)
        values = {"project_id": project, "user_id": "admin"}
        self.database.write(lambda each: each.execute(owned.values(values)))
        return instance

    def volume(self, **wanted: Any) -> VolumeId:  # noqa: ANN401
        """Return a free volume."""
        volume = VolumeId(new_uuid())
        self.world.volumes[volume] = Volume(
            id=volume, size=GIB, status=VolumeStatus.AVAILABLE, **({"project_id": PROJECT} | wanted)
        )
        return volume

    def end_of(self, response: Response) -> Json:
        """Return the operation that a request has begun, once it has ended."""
        operation = response.headers["X-Blockworker-Operation"]
        return self.client.wait_for(self.host, operation, every=0.01)


@contextmanager
def api_rig(
    state: Path,
    front: Front | None = None,
    **options_: Any,  # noqa: ANN401
) -> Iterator[ApiRig]:
    """Run a worker on a world that answers at once, and an API over it."""
    world, stalled = World(), threading.RLock()
    conf = options.load(
        state_path=str(state),
        host=f"host-{fresh_name()}",
        hypervisor__uri=TEST_DRIVER,
        **({"api__auth": "none", "transport_url": "kombu+memory://localhost/"} | options_),
    )
    worker = wiring.Worker(conf, core=_core_on(world, stalled))
    settings = wiring.bus_settings(conf)
    with ExitStack() as stack:
        worker.start()
        stack.callback(worker.stop)
        database = wiring.make_database(conf)
        services = _on(world, make_services(conf, settings, database, stack), database)
        yield ApiRig(
            conf=conf,
            world=world,
            services=services,
            application=Application(
                ROUTES,
                services,
                front or replace(make_front(conf), meter=services.metrics.meter),
            ),
            database=database,
            client=services.workers,
            stalled=stalled,
        )


def _core_on(world: World, lock: threading.RLock) -> type[Core]:
    class WorldCore(Core):
        """The core on that world."""

        def __init__(
            self,
            conf: cfg.ConfigOpts,
            database: Database,
            uri: str,
            watchers: tuple[Watcher, ...] = (),
        ) -> None:
            super().__init__(conf, database, uri, watchers)
            ports = fakes.ports(world)
            locked: dict[str, Any] = {
                name: OneAtATime(getattr(ports, name), lock) for name in OUTSIDE
            }
            self.outside = Outside(**locked)

    return WorldCore


def _on(world: World, services: Services, database: Database) -> Services:
    ports = fakes.ports(world)
    return replace(
        services,
        volumes=ports.volumes,
        attachments=ports.attachments,
        pool=FleetPool(database, WorldPool(world)),
        images=FakeImageListing(world),
    )


def _response(result: Result) -> Response:
    body = result.json if result.content else None
    return Response(status=result.status_code, body=body, headers=result.headers)
