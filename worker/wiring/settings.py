"""What the configuration says, as values of ours: places, database, bus, hypervisor."""

from pathlib import Path

from oslo_config import cfg

from worker.errors import Invalid
from worker.persistence import migrate
from worker.persistence.database import Database
from worker.persistence.engine import make_engine
from worker.rpc.bus import BusSettings, check_url
from worker.virt.private import PrivateLibvirtd

PRIVATE = "private"


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


def hypervisor_uri(conf: cfg.ConfigOpts) -> str:
    """Return libvirt's URI; the private libvirtd is started for it."""
    if conf.hypervisor.uri != PRIVATE:
        return str(conf.hypervisor.uri)
    return PrivateLibvirtd(state_path(conf) / "libvirt").start()


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


def socket_path(conf: cfg.ConfigOpts) -> Path:
    """Return where the worker of this state folder listens for commands."""
    return Path(conf.state_path) / "control.sock"
