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
]
