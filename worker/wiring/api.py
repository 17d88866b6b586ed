"""The API tier on real adapters."""

import logging
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from oslo_config import cfg

from worker import __version__
from worker.api.application import Application, Front
from worker.api.front.enforcing import OsloPolicy
from worker.api.front.server import WebServer
from worker.api.offers import Offers, read_flavors, read_network
from worker.api.own.looks import Looks
from worker.api.own.metrics import Metrics
from worker.api.routes import ROUTES
from worker.api.services import Limits, Services
from worker.api.streams.opening import Streams
from worker.errors import Invalid
from worker.persistence.database import Database
from worker.persistence.fleet import Fleet, FleetUpdates
from worker.persistence.fleet.giving_back import GivingBack
from worker.persistence.repositories import Repositories
from worker.ports import Clock
from worker.rpc.bus import BusSettings
from worker.rpc.client import Client
from worker.wiring.api_front import (
    api_address,
    api_tls,
    api_url,
    check_api,
    make_callers,
    make_door,
)
from worker.wiring.core import SystemClock
from worker.wiring.images import make_project_images
from worker.wiring.settings import bus_settings, make_database, wait_for_schema
from worker.wiring.storage import (
    make_image_listing,
    make_pool,
    where_cinder_is,
    where_glance_is,
)
from worker.wiring.volumes import make_volume_service

LOG = logging.getLogger(__name__)


class Api:
    """The API as a service: its server, its client of the workers, its look at the database."""

    def __init__(self, conf: cfg.ConfigOpts, *, beside_worker: bool = False) -> None:
        """Nothing is opened yet; ``beside_worker`` is whether a worker is in this process."""
        self._conf = conf
        self._beside_worker = beside_worker
        self._stack = ExitStack()
        self.port = 0
        self.lost = threading.Event()

    def check(self) -> BusSettings:
        """Return the bus; raises Invalid for what cannot be meant."""
        settings = bus_settings(self._conf)
        if settings.in_process and not self._beside_worker:
            message = (
                f"{settings.in_process}:// reaches no other process, so that an API of its own"
                " would be alone with itself; run `blockworker all-in-one`, or set transport_url to"
                " the broker of the workers"
            )
            raise Invalid(message)
        check_api(self._conf)
        return settings

    def start(self) -> None:
        """Serve, once the database answers; raises Invalid for what cannot be meant."""
        with ExitStack() as stack:
            settings = self.check()
            database = make_database(self._conf)
            wait_for_schema(self._conf, database)
            services = make_services(self._conf, settings, database, stack)
            front = replace(make_front(self._conf), meter=services.metrics.meter)
            server = WebServer(
                Application(ROUTES, services, front),
                api_address(self._conf),
                # A stream has its thread for as long as it lasts: it takes none from requests.
                threads=self._conf.api.threads + services.streams.most,
                tls=api_tls(self._conf),
                patience=self._patience(),
            )
            self.port = server.start()
            stack.callback(server.stop)
            stack.callback(services.streams.stop)
            # Said first of all, and by what has served alone.
            stack.callback(lambda: LOG.info("api stops: patience=%.1f", self._patience()))
            self._stack = stack.pop_all()
        LOG.info("api serves: url=%s auth=%s", api_url(self._conf, self.port), self._conf.api.auth)

    def stop(self) -> None:
        """Take no more requests, and let those under way end."""
        self._stack.close()

    def _patience(self) -> float:
        """Return the seconds of a stop that are for requests; operations need the most of them."""
        grace = float(self._conf.graceful_timeout)
        return grace / 8 if self._beside_worker else grace

    def unfit(self) -> str | None:
        """Return what only a start can mend: there is no such thing."""
        return None


def make_services(
    conf: cfg.ConfigOpts, settings: BusSettings, database: Database, stack: ExitStack
) -> Services:
    """Return what requests are answered from; what has to be closed is left to the stack."""
    clock = SystemClock()
    client = Client(
        settings.url,
        quorum=settings.quorum,
        name=settings.name,
        timeout=conf.api.call_timeout,
        reservation_tries=2,
    )
    stack.callback(client.close)
    repositories = Repositories(database, conf.host, clock)
    volumes = make_volume_service(conf, repositories, dict)
    fleet = Fleet(database)
    streams = Streams(client.updates, fleet, FleetUpdates(database), most=conf.api.streams)
    stack.callback(streams.stop)
    return Services(
        workers=client,
        fleet=fleet,
        release=GivingBack(database, clock).release,
        volumes=volumes.volumes,
        attachments=volumes.attachments,
        policy=OsloPolicy(conf),
        clock=clock.now,
        limits=Limits(page=conf.api.page_limit, accepting=conf.api.accepting),
        streams=streams,
        health=_make_looks(fleet, clock, client),
        metrics=Metrics(__version__, lambda: streams.open_streams),
        offers=make_offers(conf),
        callers=make_callers(conf),
        pool=make_pool(conf, database, repositories.pool),
        cinder=where_cinder_is(conf),
        images=make_image_listing(conf),
        glance=where_glance_is(conf),
        project_images=make_project_images(conf),
    )


def make_offers(conf: cfg.ConfigOpts) -> Offers:
    """Return what servers can be made as; raises Invalid for a file that cannot be meant."""
    network = read_network(conf.api.network)
    if conf.api.flavors is None:
        return Offers(network=network)
    return Offers(flavors=read_flavors(Path(conf.api.flavors)), network=network)


def _make_looks(fleet: Fleet, clock: Clock, client: Client) -> Looks:
    return Looks(
        {
            "database": partial(_database_seen, fleet, clock),
            "broker": partial(_broker_seen, client),
        }
    )


def _database_seen(fleet: Fleet, clock: Clock) -> Mapping[str, Any]:
    return {"workers": len(fleet.living(clock.now()))}


def _broker_seen(client: Client) -> Mapping[str, Any]:
    client.reach_broker()
    return {}


def make_front(conf: cfg.ConfigOpts) -> Front:
    """Return what stands before the requests."""
    return Front(
        door=make_door(conf), body_limit=conf.api.body_limit, public_url=conf.api.public_url
    )
