"""What the configuration says, as values of ours: places, database, bus, hypervisor."""

import logging
import time
from pathlib import Path

from oslo_config import cfg

from worker.errors import DatabaseUnavailable, Invalid
from worker.model.ids import ImageId
from worker.model.rescue.words import RescueSettings
from worker.persistence import migrate
from worker.persistence.database import Database
from worker.persistence.engine import make_engine
from worker.rpc.bus import BusSettings, check_url
from worker.rpc.safety import Unsafe, is_loopback, unsafe_on_broker, unsafe_settings
from worker.virt.libvirtd.private import PrivateLibvirtd

LOG = logging.getLogger(__name__)

PRIVATE = "private"
LAST_PORT = 65535


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


def check_database_url(conf: cfg.ConfigOpts) -> None:
    """Raise Invalid for a database URL that cannot be used; connects to nothing."""
    if conf.database.connection is not None:
        make_engine(conf.database.connection).dispose()


def check_schema(conf: cfg.ConfigOpts, database: Database) -> None:
    """Raise Invalid unless the schema is this release's; the built-in default brings it there."""
    if conf.database.connection is None:
        migrate.upgrade(database.engine)
    wrong = migrate.check(database.engine)
    if wrong is not None:
        raise Invalid(wrong)


def wait_for_schema(conf: cfg.ConfigOpts, database: Database) -> None:
    """Return once the database answers and has this release's schema; raises Invalid."""
    pause = 1.0
    while True:
        try:
            check_schema(conf, database)
            return
        except DatabaseUnavailable as error:
            LOG.warning("database away: error=%s retry_in=%.0f", error, pause)
            time.sleep(pause)
            pause = min(30.0, pause * 2)


def hypervisor_uri(conf: cfg.ConfigOpts) -> str:
    """Return libvirt's URI; the private libvirtd is started for it."""
    if conf.hypervisor.uri != PRIVATE:
        return str(conf.hypervisor.uri)
    return PrivateLibvirtd(state_path(conf) / "libvirt").start()


def known_uri(conf: cfg.ConfigOpts) -> str | None:
    """Return libvirt's URI for one who only looks; None for a private libvirtd that is not up."""
    if conf.hypervisor.uri != PRIVATE:
        return str(conf.hypervisor.uri)
    private = PrivateLibvirtd(state_path(conf) / "libvirt")
    return private.uri() if private.running() else None


def bus_settings(conf: cfg.ConfigOpts) -> BusSettings:
    """Return which bus is meant, and how it is used; raises Invalid for a malformed URL."""
    check_url(conf.transport_url)
    return BusSettings(
        url=conf.transport_url,
        host=conf.host,
        quorum=conf.bus.quorum,
        threads=conf.threads,
        prefetch=conf.bus.prefetch,
        delivery_limit=conf.bus.delivery_limit,
    )


def unsafe_bus(settings: BusSettings, *, ask_broker: bool) -> tuple[Unsafe, ...]:
    """Return what weakens the worker's promises; ``ask_broker`` may raise BrokerUnavailable."""
    return (*unsafe_settings(settings), *(unsafe_on_broker(settings) if ask_broker else ()))


def health_address(conf: cfg.ConfigOpts) -> Path | tuple[str, int] | None:
    """Return where health is served: a socket's path, host and port, or None for nowhere.

    Raises Invalid for what cannot be meant, and for what others could reach unasked.
    """
    listen = conf.health.listen
    if listen is None:
        return Path(conf.state_path) / "health.sock"
    if not listen:
        return None
    if listen.startswith("unix:/"):
        return Path(listen.removeprefix("unix:"))
    host, port = host_and_port(listen, "[health] listen", "neither unix:/path nor")
    if not is_loopback(host) and not conf.health.allow_remote:
        message = (
            f"[health] listen = {listen} can be reached from other machines, and nothing asks who"
            " they are; set [health] allow_remote if that is meant"
        )
        raise Invalid(message)
    return host, port


def host_and_port(listen: str, option: str, wrong: str = "not") -> tuple[str, int]:
    """Return the two of ``host:port``; raises Invalid, naming the option."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > LAST_PORT:
        message = f"{option} = {listen} is {wrong} host:port"
        raise Invalid(message)
    return host.strip("[]"), int(port)


def rescue_settings(conf: cfg.ConfigOpts) -> RescueSettings:
    """Return what the operator has chosen for rescues, as it is now."""
    return RescueSettings(
        image=_image(conf.rescue_image),
        kernel=_image(conf.rescue_kernel),
        ramdisk=_image(conf.rescue_ramdisk),
        device_operations=bool(conf.allow_block_operations_in_rescue),
    )


def _image(text: str | None) -> ImageId | None:
    return ImageId(text) if text else None
