"""[DEFAULT]: the worker itself."""

import socket

from oslo_config import cfg

GROUP = None

OPTIONS = [
    cfg.StrOpt(
        "host",
        default=socket.gethostname(),
        sample_default="<this machine's host name>",
        help="Name of this host on the bus, in the database and in the volume service. Each host"
        " has one worker; operations for it are sent to this name. Never change it while"
        " volumes are attached.",
    ),
    cfg.StrOpt(
        "state_path",
        default="/var/lib/blockworker",
        help="Folder that is the worker's own, mode 0700: its lock, its control socket, and"
        " unless configured otherwise its database, its pool of volumes and its private"
        " libvirtd. A worker that was killed takes over at once from the same folder.",
    ),
    cfg.StrOpt(
        "transport_url",
        default="kombu+memory://localhost/",
        secret=True,
        help="The message bus, as oslo.messaging writes it:"
        " rabbit://user:password@host:5672/vhost. kombu+memory:// lives in this process only"
        " and is forgotten with it; the local control socket works all the same.",
    ),
    cfg.IntOpt(
        "max_disk_devices",
        default=-1,
        min=-1,
        help="The most disks that one instance may have, those that the worker did not attach"
        " included; -1 is no limit beyond that of each bus.",
    ),
    cfg.IntOpt(
        "threads",
        default=8,
        min=1,
        help="How many instances are worked on at the same moment. Operations on one instance"
        " always wait for one another.",
    ),
    cfg.FloatOpt(
        "graceful_timeout",
        default=60.0,
        min=0.0,
        help="Seconds that running operations may take to end when the worker is stopped. What"
        " has not ended by then is taken up again at the next start.",
    ),
]
