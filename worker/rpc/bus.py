"""Which bus this is: its settings, its names, and what it cannot promise."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from kombu.connection import Connection
from oslo_config import cfg
from oslo_messaging import TransportURL, opts

from worker.errors import Invalid
from worker.rpc import memory

MEMORY = "kombu+memory"
FAKE = "fake"
TRANSPORTS = frozenset({"rabbit", "amqp", "amqps", "kombu", MEMORY, FAKE})

HEARTBEAT = 20
"""Seconds after which a silent connection is taken to be dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BusSettings:
    """How a worker or client reaches its bus; times in seconds.

    ``url`` is oslo.messaging's transport URL. ``quorum`` says that the broker's queues are
    replicated and durable; every speaker on one exchange must agree on it. ``name`` is the
    exchange and the root of every topic. ``start_patience`` is how long a start waits for the
    broker before it goes on without.
    """

    url: str
    host: str
    quorum: bool = True
    name: str = "blockworker"
    threads: int = 8
    prefetch: int = 64
    delivery_limit: int = 20
    retained_updates: int = 100_000
    heartbeat: float = HEARTBEAT
    connect_timeout: float = 5.0
    confirm_timeout: float = 10.0
    start_patience: float = 2.0
    first_pause: float = 1.0
    longest_pause: float = 30.0

    @property
    def in_process(self) -> str | None:
        """The kind of a bus that lives in this process alone; None for a broker."""
        scheme = urlsplit(self.url).scheme
        return scheme if scheme in (MEMORY, FAKE) else None

    @property
    def replicated(self) -> bool:
        """Whether queues are quorum queues and the exchange durable: a broker's alone can be."""
        return self.quorum and self.in_process is None

    @property
    def operations_topic(self) -> str:
        """The topic of casts; with the host added it is routing key and queue."""
        return f"{self.name}.operations"

    @property
    def operations_queue(self) -> str:
        """The queue that this host's intake reads."""
        return f"{self.operations_topic}.{self.host}"

    @property
    def dead_letters(self) -> str:
        """The queue of what this host could not read."""
        return f"{self.operations_queue}.dead"

    @property
    def updates_topic(self) -> str:
        """The topic of notifications."""
        return f"{self.name}.updates"

    @property
    def updates_key(self) -> str:
        """The routing key of notifications: their topic and their one priority."""
        return f"{self.updates_topic}.info"

    @property
    def publisher(self) -> str:
        """Who tells this host's updates."""
        return f"{self.name}.{self.host}"


def check_url(url: str) -> None:
    """Raise Invalid for a transport URL that cannot be used; it says nothing of the URL."""
    try:
        parsed = TransportURL.parse(messaging_conf(url, quorum=False), url)
        known = parsed.transport in TRANSPORTS
    except Exception:  # noqa: BLE001 - whatever it was, its text may hold the password
        known = False
    if not known:
        message = (
            "transport_url cannot be used; rabbit://user:password@host:port/vhost is meant,"
            " with special characters in the password written as %XX"
        )
        raise Invalid(message)


def messaging_conf(url: str, *, quorum: bool) -> cfg.ConfigOpts:
    """Return options for oslo.messaging that share nothing with ``cfg.CONF``."""
    conf = cfg.ConfigOpts()
    for group, options in opts.list_opts():
        conf.register_opts(options, group)
    # Read on every send, but registered by the library on its global options alone.
    for group, option in (("tracing", "tracing_enabled"), ("metrics", "metrics_enabled")):
        conf.register_opt(cfg.BoolOpt(option, default=False), f"oslo_messaging_{group}")
    conf([], default_config_files=[], default_config_dirs=[])
    conf.set_override("transport_url", url)
    for option in ("rabbit_quorum_queue", "rabbit_transient_quorum_queue"):
        conf.set_override(option, quorum, "oslo_messaging_rabbit")
    # oslo.messaging finds out by this alone that a broker, back from a crash, will never answer
    # what it was asked first.
    conf.set_override("heartbeat_timeout_threshold", HEARTBEAT, "oslo_messaging_rabbit")
    # A caller who is gone would hold up our stopping; one who is not asks again.
    conf.set_override("kombu_missing_consumer_retry_timeout", 3, "oslo_messaging_rabbit")
    if urlsplit(url).scheme == MEMORY:
        memory.install()
        # It has none, and oslo.messaging warns of that at each connection.
        conf.set_override("heartbeat_timeout_threshold", 0, "oslo_messaging_rabbit")
    return conf


def connection_to(settings: BusSettings, purpose: str) -> Connection:
    """Return a connection, not yet open, to the same broker that oslo.messaging would use."""
    where = TransportURL.parse(
        messaging_conf(settings.url, quorum=settings.replicated), settings.url
    )
    if settings.in_process is not None:
        # kombu does not speak fake:/; there the connection only keeps a thread company.
        return Connection("memory://localhost")
    name = f"blockworker {purpose} {settings.host}"
    return Connection(
        ";".join(_host_url(host, where.virtual_host) for host in where.hosts) or "amqp://",
        ssl=_tls(where.query),
        heartbeat=settings.heartbeat,
        connect_timeout=settings.connect_timeout,
        transport_options={
            "confirm_publish": True,
            "read_timeout": settings.confirm_timeout,
            "write_timeout": settings.confirm_timeout,
            "client_properties": {"connection_name": name},
        },
    )


def tls_wanted(query: Mapping[str, str]) -> bool:
    """Return whether the URL's query asks for TLS."""
    return query.get("ssl", "").lower() in ("1", "true", "yes", "on")


def _host_url(host: Any, virtual_host: str | None) -> str:  # noqa: ANN401 - oslo's TransportHost
    address = f"[{host.hostname}]" if ":" in host.hostname else host.hostname
    login = f"{quote(host.username or 'guest', safe='')}:{quote(host.password or 'guest', safe='')}"
    return f"amqp://{login}@{address}:{host.port or 5672}/{quote(virtual_host or '', safe='')}"


def _tls(query: Mapping[str, str]) -> bool | dict[str, str]:
    """Take the options from the URL's query, where oslo.messaging looks for them too."""
    if not tls_wanted(query):
        return False
    names = {"ssl_ca_file": "ca_certs", "ssl_cert_file": "certfile", "ssl_key_file": "keyfile"}
    return {ours: query[theirs] for theirs, ours in names.items() if theirs in query} or True
