"""[health]: what the worker says of itself to whoever looks after it."""

from oslo_config import cfg

GROUP = "health"

OPTIONS = [
    cfg.StrOpt(
        "listen",
        sample_default="unix:<state_path>/health.sock",
        help="Where /healthz and /metrics are served: unix:/path (mode 0600), or host:port such"
        " as 127.0.0.1:9177, which Prometheus can reach; empty for nowhere. The default is a"
        " socket because every user of the machine may speak to a loopback port, and two workers"
        " would fight for one number.",
    ),
    cfg.BoolOpt(
        "allow_remote",
        default=False,
        help="Let [health] listen be an address that other machines can reach. There is no"
        " password and no TLS: put what has them in front.",
    ),
    cfg.FloatOpt(
        "interval",
        default=10.0,
        min=0.1,
        mutable=True,
        help="Seconds between two looks at broker, database and libvirt. When a message that the"
        " worker sends to itself is missing for six of these, on a connection that claims to be"
        " well, systemd's watchdog is not fed any more.",
    ),
]
