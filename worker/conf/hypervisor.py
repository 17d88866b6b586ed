"""[hypervisor]: libvirt."""

from oslo_config import cfg

GROUP = "hypervisor"

OPTIONS = [
    cfg.StrOpt(
        "uri",
        default="private",
        help="libvirt's URI, qemu:///system for instance; or 'private' for a libvirtd of the"
        " worker's own, under state_path, that is started when needed and left running.",
    ),
    cfg.FloatOpt(
        "detach_retry_interval",
        default=20.0,
        min=0.1,
        help="Seconds to wait for the guest to let go of a disk before it is asked again.",
    ),
    cfg.IntOpt(
        "detach_attempts",
        default=8,
        min=1,
        help="How often a guest is asked to let go of a disk before the detach fails with"
        " block_device.guest_busy.",
    ),
    cfg.FloatOpt(
        "shutdown_timeout",
        default=60.0,
        min=0.0,
        mutable=True,
        help="Seconds that a guest gets to power itself off, when it is stopped or rebooted,"
        " before its power is cut. stop_instance may ask for another time.",
    ),
    cfg.IntOpt(
        "swap_bandwidth",
        default=0,
        min=0,
        mutable=True,
        help="MiB a second that the copy of a swapped volume may take, of one that begins from"
        " now on; 0 is as many as storage and network give.",
    ),
    cfg.BoolOpt(
        "resume_guests_on_start",
        default=True,
        help="After a boot of the host, start the guests that ran before it, their volumes"
        " connected anew. libvirt's own autostart would start them without their volumes, so"
        " it is not for guests that hold some.",
    ),
    cfg.FloatOpt(
        "missing_volume_interval",
        default=60.0,
        min=1.0,
        mutable=True,
        help="Seconds after which it is tried again to reach a volume that could not be reached"
        " when its guest started. Once it can, the guest gets it back under its old name and"
        " address.",
    ),
]
