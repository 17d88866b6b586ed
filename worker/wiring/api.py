"""The API tier on real adapters."""

from contextlib import ExitStack

from oslo_config import cfg

from worker.api.application import Application, Door, Front
from worker.api.front.open_door import OpenDoor
from worker.api.front.policies import OsloPolicy
from worker.api.front.server import WebServer
from worker.api.routes import ROUTES
from worker.api.services import Limits, Services
from worker.errors import Invalid
from worker.persistence.database import Database
from worker.persistence.fleet import Fleet
from worker.persistence.fleet.giving_back import GivingBack
from worker.persistence.repositories import Repositories
from worker.rpc.bus import BusSettings
from worker.rpc.client import Client
from worker.wiring.core import SystemClock
from worker.wiring.settings import bus_settings, check_schema, host_and_port, make_database
from worker.wiring.volumes import make_volume_service


class Api:
    """The API as a service: its server, its client of the workers, its look at the database."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        """Nothing is opened yet."""
        self._conf = conf
        self._stack = ExitStack()
        self.port = 0

    def start(self) -> None:
        """Serve; raises Invalid for what cannot be meant, and DatabaseUnavailable."""
        with ExitStack() as stack:
            settings = bus_settings(self._conf)
            database = make_database(self._conf)
            check_schema(self._conf, database)
            services = make_services(self._conf, settings, database, stack)
            application = Application(ROUTES, services, make_front(self._conf))
            server = WebServer(
                application,
                host_and_port(self._conf.api.listen, "[api] listen"),
                threads=self._conf.api.threads,
            )
            self.port = server.start()
            stack.callback(server.stop)
            self._stack = stack.pop_all()

    def stop(self) -> None:
        """Answer no more."""
        self._stack.close()


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
    volumes = make_volume_service(conf, Repositories(database, conf.host, clock), dict)
    return Services(
        workers=client,
        fleet=Fleet(database),
        release=GivingBack(database, clock).release,
        volumes=volumes.volumes,
        attachments=volumes.attachments,
        policy=OsloPolicy(conf),
        clock=clock.now,
        limits=Limits(page=conf.api.page_limit, accepting=conf.api.accepting),
        pooled=conf.volume.service != "cinder",
    )


def make_front(conf: cfg.ConfigOpts) -> Front:
    """Return what stands before the requests."""
    return Front(door=_door(conf), body_limit=conf.api.body_limit, public_url=conf.api.public_url)


def _door(conf: cfg.ConfigOpts) -> Door:
    if conf.api.auth == "none":
        return OpenDoor()
    message = f"[api] auth = {conf.api.auth} is not there yet"
    raise Invalid(message)
