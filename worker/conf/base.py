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
        mutable=True,
        help="Seconds that the worker may take to stop: running operations end, and what they"
        " told is published. What has not ended by then is taken up again at the next start.",
    ),
    cfg.FloatOpt(
        "slow_step",
        default=30.0,
        min=0.1,
        mutable=True,
        help="Seconds after which a step that still runs is named in the log.",
    ),
    cfg.FloatOpt(
        "operation_timeout",
        default=1800.0,
        min=1.0,
        mutable=True,
        help="Seconds from its begin after which an operation is late: it is marked and named in"
        " the log, and waits no longer for a service that is away. Nothing is stopped, since no"
        " library lets go of its call.",
    ),
    cfg.FloatOpt(
        "outage_patience",
        default=120.0,
        min=0.0,
        mutable=True,
        help="Seconds that an operation waits for a volume service or libvirt that does not"
        " answer, trying again with growing pauses, before the step fails.",
    ),
    cfg.FloatOpt(
        "reservation_ttl",
        default=3600.0,
        min=0.0,
        mutable=True,
        help="Seconds after which a reserved device name that nobody attached is released; 0"
        " keeps it for ever. Nothing is released before what was queued for this host is in the"
        " journal.",
    ),
    cfg.StrOpt(
        "rescue_image",
        help="Image that an instance is rescued with when the request names none; without it the"
        " image that the instance was made of.",
    ),
    cfg.StrOpt(
        "rescue_kernel",
        help="Image of a kernel that rescue_image is started with; without it the guest's firmware"
        " boots the rescue disk.",
    ),
    cfg.StrOpt(
        "rescue_ramdisk",
        help="Image of the ramdisk for rescue_kernel.",
    ),
    cfg.FloatOpt(
        "rescue_timeout",
        default=0.0,
        min=0.0,
        mutable=True,
        help="Seconds after which an instance in rescue is unrescued by the worker itself; 0 leaves"
        " it in rescue.",
    ),
    cfg.BoolOpt(
        "allow_block_operations_in_rescue",
        default=False,
        mutable=True,
        help="Let disks, interfaces and host devices be attached and detached while an instance is"
        " in rescue, in the rescue guest and in its next start alike. Without it such a request is"
        " refused with instance.rescued.",
    ),
]
